"""gunicorn as this product wants it: configured by code alone, one orderly stop, messages to our own log."""

import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.http import get_parser
from gunicorn.sock import ssl_context
from gunicorn.workers.gthread import TConn, ThreadWorker

from wire.accept_filter import AcceptFilter, ahead_of


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


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's worker, whose threads get connections when a request is there (wire.accept_filter).

    main thread: accept ─▶ filter ─▶ main thread ─▶ pool of threads ─ kept connection readable ─▶ filter ...
    """

    def init_process(self) -> None:
        self._filter: AcceptFilter[TConn] = AcceptFilter(
            lambda conn: self.method_queue.defer(super(Worker, self).enqueue_req, conn),
            lambda conn: self.method_queue.defer(self._close, conn),
        )
        self._tls = ssl_context(self.cfg) if self.cfg.is_ssl else None
        super().init_process()

    def accept(self, listener: socket.socket) -> None:
        """Take a new connection."""
        try:
            sock, addr = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # it has gone, or another worker has it
        conn = TConn(self.cfg, sock, addr, listener.getsockname())
        try:
            conn.sock = ahead_of(sock, self._tls)
        except OSError:  # it has gone
            conn.close()
            return
        self.nr_conns += 1
        conn.initialized, conn.parser = True, get_parser(self.cfg, conn.sock, conn.client)
        self.enqueue_req(conn)

    def enqueue_req(self, conn: TConn) -> None:
        """Have the connection's next request served once it is there."""
        conn.sock.ahead[:0] = conn.parser.unreader.take_buffered()
        self._filter.enter(conn.sock, conn)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._filter.end()

    def _close(self, conn: TConn) -> None:
        self.nr_conns -= 1
        conn.close()


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
