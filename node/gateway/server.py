"""The data port: a thread per connection, for few and long-lived peers.

accept thread ──▶ connection threads (at most MAX_CONNECTIONS; beyond that 503 and close)
"""

import contextlib
import json
import logging
import socket
import ssl
import threading
from collections.abc import Callable

from node.transport.connection import Connection
from node.transport.http11 import Disconnected, HttpError, Request, reason_phrase
from node.transport.tls_stream import Stream, secured

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 1024
ACCEPT_PAUSE_S = 0.1  # after a failure to accept
SKIP_LIMIT = 64 << 20  # bytes of a refused body that are read to keep the connection in step

View = Callable[[Request, Connection], None]


class Server:
    """Serves *view* on *listener* until that is closed."""

    def __init__(self, listener: socket.socket, view: View, tls: ssl.SSLContext | None = None) -> None:
        """tls: what the port shows; None for plain HTTP."""
        self._listener = listener
        self._view = view
        self._tls = tls
        self._ended = threading.Event()
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def serve(self) -> None:
        """Accept connections; returns when the listener is closed."""
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError as error:
                if self._ended.is_set() or self._listener.fileno() < 0:
                    return
                log.error("cannot accept a connection: %s", error)  # the peer went away, or no file is left
                self._ended.wait(ACCEPT_PAUSE_S)
                continue
            if self._places.acquire(blocking=False):
                self._begin(sock)
            else:
                refuse(sock)

    def end(self) -> None:
        """Close the listener; `serve` returns. Connections go on until their peers close them."""
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()

    def _begin(self, sock: socket.socket) -> None:
        """Give a connection its thread; when the machine has none left it is refused."""
        try:
            threading.Thread(target=self._attend, args=(sock,), name="connection", daemon=True).start()
        except RuntimeError as error:
            log.error("no thread for a connection: %s", error)
            self._places.release()
            refuse(sock)

    def _attend(self, sock: socket.socket) -> None:
        try:
            with secured(sock, self._tls) as stream:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection = Connection(stream)
                while self._one(connection):
                    pass
                if connection.must_close:
                    connection.linger()
        except (Disconnected, OSError) as error:
            log.debug("connection ended: %s", error)
        except Exception:
            log.exception("connection thread")
        finally:
            self._places.release()

    def _one(self, connection: Connection) -> bool:
        """Serve one request; returns False when the connection must end."""
        try:
            request = connection.read_request()
        except HttpError as error:
            problem(connection, error, None)
            return False
        if request is None:
            return False
        return serve(self._view, request, connection)


def serve(view: View, request: Request, connection: Connection) -> bool:
    """Serve one request in this thread; returns False when the connection must end. Raises Disconnected."""
    try:
        view(request, connection)
    except HttpError as error:
        error.close = error.close or not connection.skip_body(SKIP_LIMIT)
        problem(connection, error, request)
        return request.keep_alive and not error.close
    except Disconnected:
        raise
    except Exception:
        log.exception("%s %s", request.method, redacted(request.path))
        problem(connection, broken(), request)
        return False
    return request.keep_alive and not connection.must_close and connection.skip_body(SKIP_LIMIT)


def broken() -> HttpError:
    """Return the answer to a request that met a fault of ours."""
    return HttpError(500, "the gateway failed; its log says why", close=True)


def refuse(sock: Stream) -> None:
    """Tell a peer that there is no room, and close."""
    with contextlib.suppress(Disconnected, OSError), sock:
        error = HttpError(503, "too many connections", close=True, retry_after=1.0)
        problem(Connection(sock, silence_s=1.0), error, None)


def problem(connection: Connection, error: HttpError, request: Request | None) -> None:
    """Answer with application/problem+json (RFC 9457)."""
    title = reason_phrase(error.status)
    body = {
        "type": f"/problems/{title.lower().replace(' ', '-')}",
        "title": title,
        "status": error.status,
        "detail": error.detail,
    }
    if request is not None:
        body["instance"] = redacted(request.path)
    headers = {"Content-Type": "application/problem+json"}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.allow:
        headers["Allow"] = error.allow
    if error.retry_after is not None:
        headers["Retry-After"] = f"{max(1, round(error.retry_after))}"
    connection.respond(error.status, headers, json.dumps(body).encode(), close=error.close)


def redacted(path: list[str]) -> str:
    """Return *path* without the session's key: a problem may end up in a log."""
    secret = len(path) > 2 and path[0] == "sessions" and path[2] not in ("handlers", "results", "lost")
    return "/" + "/".join(["..." if secret and i == 2 else part for i, part in enumerate(path)])
