"""What child processes run; imported by the agent, so everything heavy is imported in the child alone."""

import socket
from multiprocessing.connection import Connection
from typing import Any

from node.processes.control import ChildSettings, HandlerSettings

Check = tuple[int, str, dict[str, Any]]  # handler_type, "module:Class", default parameters


def gateway(pipe: Connection, listener: socket.socket, settings: ChildSettings) -> None:
    """Be the node's gateway."""
    from node.gateway.main import run

    run(pipe, listener, settings)


def handler(pipe: Connection, settings: ChildSettings, handler_settings: HandlerSettings) -> None:
    """Be one handler of a session."""
    from node.worker.main import run

    run(pipe, settings, handler_settings)


def availability(
    pipe: Connection, checks: list[Check], model_path: str, gallery_path: str | None, settings: ChildSettings | None
) -> None:
    """Say which handler types can run here (see node.catalogue)."""
    from node.availability import run

    run(pipe, checks, model_path, gallery_path, settings)
