"""gunicorn as this product wants it: configured by code alone, one orderly stop, messages to our own log."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger


def run(make_app: Callable[[], Flask], options: dict[str, Any]) -> int:
    """Run arbiter and workers; returns the exit status, in the arbiter and in each worker that ends."""
    try:
        _Arbiter(_Application(make_app, options | {"logger_class": _Log})).run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


class _Application(BaseApplication):  # type: ignore[misc]
    def __init__(self, make_app: Callable[[], Flask], options: dict[str, Any]) -> None:
        self._make_app, self._options = make_app, options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._make_app()


class _Arbiter(Arbiter):  # type: ignore[misc]
    """gunicorn's arbiter, for which SIGINT is the same orderly stop as SIGTERM.

    SIGHUP is for the workers, which read their configuration again; nothing else is a command.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def signal(self, sig: int, frame: FrameType | None) -> None:
        super().signal(signal.SIGTERM if sig == signal.SIGINT else sig, frame)

    def handle_hup(self) -> None:
        self.kill_workers(signal.SIGHUP)


class _Log(Logger):  # type: ignore[misc]
    """gunicorn's messages go the way of all others."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
