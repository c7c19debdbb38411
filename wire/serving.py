"""Listening sockets, and WSGI apps on gunicorn: arbiter process, worker processes, threads in each.

arbiter (binds, restarts workers) ──fork──▶ worker: makes the app, then serves; dies with the arbiter
"""

import ctypes
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wire import guard, structs
from wire.tls import ServerTls

if TYPE_CHECKING:
    from flask import Flask

BACKLOG = 512
GRACE_S = 10  # how long requests in flight may take after SIGTERM
STALL_S = 60  # a worker whose main loop stands still for so long is replaced
KEEP_ALIVE_S = 65
PR_SET_PDEATHSIG = 1

logger = logging.getLogger(__name__)


class CannotBind(Exception):
    """This address cannot be listened on; the message names it and the reason."""


class PortInUse(CannotBind):
    """Somebody else listens there."""


def bind(addr: str, port: int) -> socket.socket:
    """Return a socket that listens on *addr*, *port* (0: the kernel chooses). Raises PortInUse, CannotBind."""
    try:
        found = socket.getaddrinfo(addr, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotBind(f"cannot listen on {addr}: {error.strerror}") from error
    family, kind, proto, _, place = found[0]
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(f"port {port} on {addr} is in use") from error
        raise CannotBind(f"cannot listen on {addr}, port {port}: {error.strerror}") from error
    return listener


def url_of(listener: socket.socket, addr: str, scheme: str = "http") -> str:
    """Return the URL of *listener* for those who reach it as *addr*."""
    host = f"[{addr}]" if ":" in addr else addr
    return f"{scheme}://{host}:{listener.getsockname()[1]}"


def die_with_parent(parent: int, signum: int) -> None:
    """Have the kernel send *signum* to this process when the thread that started it ends; exit if *parent* is gone.

    Linux only; elsewhere it does nothing. The signal survives exec, but is not inherited by children.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signum, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        raise SystemExit(1)


def serve(
    make_app: "Callable[[], Flask]",
    listener: socket.socket,
    *,
    workers: int,
    threads: int,
    ready_line: str,
    on_worker_start: Callable[[Callable[[], bool]], None] | None = None,
    on_worker_stop: Callable[[], None] | None = None,
    on_hangup: Callable[[], None] = lambda: None,
    tls: ServerTls | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT and return the exit status.

    make_app and on_worker_start run in each worker process, in its main thread, after the fork; on_worker_stop
    there too, before it exits. on_worker_start is given a function that says whether the worker goes on serving: an
    endless answer asks it. *ready_line* is printed once, when the first worker serves. on_hangup runs in each worker,
    in a thread, after SIGHUP to the arbiter. tls: None for plain HTTP.
    """

    structs.learn()  # before the fork, so that all workers have it

    def post_worker_init(worker: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal's group; the arbiter answers to it
        guard.on_hangup(on_hangup)
        if on_worker_start:
            on_worker_start(lambda: bool(worker.alive))
        if worker.age == 1:
            print(ready_line, flush=True)  # noqa: T201 - the one line for whoever started us

    def worker_exit(_arbiter: Any, _worker: Any) -> None:
        if on_worker_stop:
            on_worker_stop()

    arbiter = os.getpid()
    options = {
        "bind": f"fd://{listener.fileno()}",
        "workers": workers,
        "threads": threads,
        "timeout": STALL_S,
        "graceful_timeout": GRACE_S,
        "keepalive": KEEP_ALIVE_S,
        "loglevel": "warning",
        "control_socket_disable": True,
        "post_fork": lambda _arbiter, _worker: die_with_parent(arbiter, signal.SIGKILL),
        "post_worker_init": post_worker_init,
        "worker_exit": worker_exit,
    }
    if tls is not None:
        options |= {
            "certfile": str(tls.cert),
            "keyfile": str(tls.key),
            "ssl_context": lambda _config, _make: tls.context,
        }
    from wire.arbiter import Worker, run  # gunicorn: only who serves with it pays for it

    status = run(make_app, options | {"worker_class": Worker})
    if os.getpid() != arbiter:  # a worker comes back here too; what follows is the arbiter's alone
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status
