"""The data port when the machine runs short."""

import os
import resource
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from node.gateway.loop import Loop
from node.gateway.server import Server, View
from node.transport.connection import Connection
from node.transport.http11 import Request


def view(_: Request, connection: Connection) -> None:
    connection.respond(200, {}, b"ok", close=True)


def by_loop(listener: socket.socket, view: View) -> Loop:
    return Loop(listener, lambda request: None, view)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    listener = socket.create_server(("127.0.0.1", 0))
    yield listener
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def no_files_left() -> Iterator[list[int]]:
    """Let this process open no more files until the descriptors in the list are closed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    yield held
    for one in held:
        os.close(one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("kind", [Server, by_loop])
def test_the_server_accepts_again_after_files_ran_out(
    listener: socket.socket, no_files_left: list[int], kind: Callable[[socket.socket, View], Server | Loop]
) -> None:
    server = threading.Thread(target=kind(listener, view).serve, daemon=True)
    server.start()
    peer = socket.socket()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))  # others' may be above ours, with no room below the limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, hard))
    with pytest.raises(OSError, match="Too many open files"):
        while True:
            no_files_left.append(os.dup(peer.fileno()))
    with peer:
        peer.settimeout(5)
        peer.connect(listener.getsockname())
        peer.sendall(b"GET / HTTP/1.1\r\nHost: n\r\n\r\n")
        server.join(0.3)
        assert server.is_alive(), "one failure to accept does not make the gateway deaf"
        while no_files_left:
            os.close(no_files_left.pop())
        assert peer.recv(1000).startswith(b"HTTP/1.1 200 ")
