"""Which handler types can run here, found out in a short-lived process: the agent never imports handler code."""

from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from handlers.base import Context, Handler, Params, Unavailable, load_class, read_params
from node.processes.confinement import confine_handler
from node.processes.control import ChildSettings
from node.targets import Check


def run(
    pipe: Connection,
    checks: Sequence[Check],
    model_path: str,
    gallery_path: str | None,
    settings: ChildSettings | None = None,
) -> None:
    """For each of *checks* send MessagePack (handler_type, reason or None), as each is known.

    With *settings* behind the fence of the node's handlers.
    """
    if settings is not None:
        confine_handler(settings, "availability", 0)
    context = Context(model_path=Path(model_path), gallery_path=Path(gallery_path) if gallery_path else None)
    for handler_type, class_name, params in checks:
        pipe.send_bytes(msgspec.msgpack.encode((handler_type, reason(class_name, params, context))))


def reason(class_name: str, defaults: dict[str, Any], context: Context) -> str | None:
    """Return why the class cannot run here with the parameters *defaults*; None when it can."""
    try:
        cls = load_class(class_name)
        params = _read(cls, defaults)
        if params is not None:
            cls.check(params, context)
    except Unavailable as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - a plug-in's own fault must not hide the others
        return f"{type(error).__name__}: {error}"
    return None


def _read(cls: type[Handler[Any]], defaults: dict[str, Any]) -> Params | None:
    """Return the default parameters, or None when some have no default: the service gives them."""
    try:
        return read_params(cls, defaults)
    except msgspec.ValidationError as error:
        if "missing required field" in str(error):
            return None
        raise
