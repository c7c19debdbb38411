"""The control API on cheroot: threads inside the agent, on a socket that was bound before."""

import logging
import socket
import threading
from typing import Any

from cheroot import wsgi

logger = logging.getLogger(__name__)

THREADS = 16  # a PUT holds one while its handlers prepare


class ControlServer(wsgi.Server):
    """Serves *app* on *listener* in threads of its own."""

    def __init__(self, listener: socket.socket, app: Any) -> None:
        super().__init__(listener.getsockname()[:2], app, numthreads=THREADS, server_name="faceservice")
        self._listener = listener
        self.shutdown_timeout = 2
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

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """Send the server's messages the way of all others."""
        logger.log(level, "%s", msg, exc_info=traceback)

    def begin(self) -> None:
        """Serve from now on; returns when it listens."""
        self.prepare()
        self._thread.start()

    def end(self) -> None:
        """Stop; requests in flight have shutdown_timeout seconds."""
        self.stop()
        self._thread.join(self.shutdown_timeout + 1)
