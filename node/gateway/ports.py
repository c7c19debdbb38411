"""Ports of their own that sessions of the older protocol open: POST / there is a post to the session's entry.

A port lives from the first Attach to Detach; a gateway that takes a dead one's place opens it again.
"""

import ssl
import threading
from functools import partial

from node.gateway.server import Server
from node.gateway.views import Views
from wire.serving import bind


class EntryPorts:
    """session_id -> the server of its port. Used by the control thread alone."""

    def __init__(self, addr: str, views: Views, tls: ssl.SSLContext | None) -> None:
        self._addr = addr
        self._tls = tls
        self._views = views
        self._servers: dict[int, Server] = {}

    def open(self, session_id: int, port: int) -> None:
        """Take frames for the session at *port* of this node, unless that is open already. Raises CannotBind."""
        if session_id in self._servers:
            return
        server = Server(bind(self._addr, port), partial(self._views.at_port, session_id), self._tls)
        self._servers[session_id] = server
        threading.Thread(target=server.serve, name=f"accept-{port}", daemon=True).start()

    def close(self, session_id: int) -> None:
        """Close the session's port, if it has one."""
        server = self._servers.pop(session_id, None)
        if server is not None:
            server.end()
