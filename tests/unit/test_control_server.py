"""The control API's server on a socket that was bound before."""

import socket

from node.control_server import ControlServer


def test_answers_leave_without_waiting_for_acknowledgements() -> None:
    """Head and body are two writes: with Nagle's algorithm each call on a kept connection would take 40 ms."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = ControlServer(listener, lambda environ, start: [])
        server.begin()
        try:
            assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        finally:
            server.end()
