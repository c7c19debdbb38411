"""The control API on cheroot: threads inside the agent, on a socket that was bound before."""

import logging
import socket
import ssl
import threading
from typing import Any

from cheroot import wsgi
from cheroot.makefile import StreamReader, StreamWriter
from cheroot.ssl import Adapter

from node.control_request import Connection
from node.transport.http11 import MAX_HEAD
from wire.accept_filter import AcceptFilter, AheadSocket, ahead_of
from wire.serving import BACKLOG
from wire.tls import ServerTls

logger = logging.getLogger(__name__)

THREADS = 16  # a PUT holds one while its handlers prepare
MAX_BODY = 4 << 20  # bytes: a body that the app refuses is read to its end, into memory, when it is not longer
END_S = 2.0  # how long requests in flight may take at the end


class ControlServer(wsgi.Server):
    """Serves *app* on *listener* in threads of its own."""

    ConnectionClass = Connection
    max_request_header_size = MAX_HEAD
    max_request_body_size = MAX_BODY

    def __init__(self, listener: socket.socket, app: Any, tls: ServerTls | None = None) -> None:
        super().__init__(
            listener.getsockname()[:2],
            app,
            numthreads=THREADS,
            server_name="faceservice",
            request_queue_size=BACKLOG,  # by itself it listens again, with 5: more at once would wait for a second
        )
        self._listener = listener
        self._filter: AcceptFilter[Connection] = AcceptFilter(self._serve, Connection.close)
        if tls is not None:
            self.ssl_adapter = _Tls(tls)
        self.shutdown_timeout = END_S
        self._thread = threading.Thread(target=self.serve, name="control", daemon=True)

    def bind(self, family: int, type: int, proto: int = 0) -> socket.socket:
        """Use the socket that is there (called by prepare).

        Without delay: head and body are written apart, and on a kept connection the second would wait 40 ms for the
        peer's acknowledgement of the first.
        """
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # those that are accepted inherit it
        self.socket = self._listener
        self.bind_addr = self._listener.getsockname()[:2]
        return self._listener

    def process_conn(self, conn: Connection) -> None:
        """Have the connection's next request served once it is there; a new one, or a kept one that is readable."""
        conn.socket.ahead[:0] = conn.read_ahead()
        self._filter.enter(conn.socket, conn)

    def _serve(self, conn: Connection) -> None:
        conn.socket.settimeout(self.timeout)
        super().process_conn(conn)

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """Send the server's messages the way of all others."""
        logger.log(level, "%s", msg, exc_info=traceback)

    def begin(self) -> None:
        """Serve from now on; returns when it listens. Raises RuntimeError when it can't; the log says why.

        The threads inherit from the one that makes them that no exit of the process waits for them.
        """
        making = threading.Thread(target=self.prepare, name="control begins", daemon=True)
        making.start()
        making.join()
        if not self.ready:
            raise RuntimeError("the control server does not start")
        self._thread.start()

    def end(self) -> None:
        """Stop: requests in flight have shutdown_timeout seconds.

        Whoever is still served then is left to the end of the process. cheroot would wait for the peers, first for
        those that are served and then for those that wait: each for 10 s of silence, or for as long as it drips.
        """
        self._filter.end()
        stopping = threading.Thread(target=self.stop, name="control ends", daemon=True)
        stopping.start()
        stopping.join(self.shutdown_timeout + 1)
        self._thread.join(1)


class _Tls(Adapter):
    """TLS for cheroot. Who reads first makes the handshake: that is the accept filter."""

    def __init__(self, tls: ServerTls) -> None:
        super().__init__(str(tls.cert), str(tls.key))
        self._context = tls.context

    def bind(self, sock: socket.socket) -> socket.socket:
        """Return the listening socket as it is."""
        return sock

    def wrap(self, sock: socket.socket) -> tuple[AheadSocket, dict[str, str]]:
        """Return the connection, and what it adds to the environment of its requests."""
        return ahead_of(sock, self._context), self.get_environ()

    def get_environ(self) -> dict[str, str]:
        """Return what every request of a TLS connection knows."""
        return {"wsgi.url_scheme": "https", "HTTPS": "on"}

    def makefile(self, sock: ssl.SSLSocket, mode: str = "r", bufsize: int = -1) -> Any:
        """Return a file on the connection."""
        return (StreamReader if "r" in mode else StreamWriter)(sock, mode, bufsize)
