"""The word that frames must be sent again reaches the entry, whatever happens to the connection."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from node.gateway.server import Server
from node.gateway.telling import tell
from node.transport.connection import Connection
from node.transport.http11 import HttpError, Request

View = Callable[[Request, Connection], None]


@contextmanager
def entry(view: View) -> Iterator[str]:
    """Serve *view*; yields the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=Server(listener, view).serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_it_is_said_until_it_is_heard() -> None:
    """A gateway that has just been started knows no session; a connection is cut before its answer."""
    bodies: list[bytes] = []

    def view(_: Request, connection: Connection) -> None:
        bodies.append(bytes(connection.read_body()))
        if len(bodies) == 1:
            raise HttpError(404, "no session yet")
        if len(bodies) == 2:
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.socket.close()
            raise OSError("cut")
        connection.accept()

    with entry(view) as url:
        assert tell(lambda: url, "/sessions/7/lost", b"{}", None, threading.Event())
    assert bodies == [b"{}"] * 3


def test_it_goes_to_where_the_entry_is_now_and_to_nobody_when_there_is_none() -> None:
    heard = threading.Event()

    def view(_: Request, connection: Connection) -> None:
        connection.read_body()
        heard.set()
        connection.accept()

    with entry(view) as url:
        where = iter(["http://127.0.0.1:1", url])  # nobody listens at the first
        assert tell(lambda: next(where), "/sessions/7/lost", b"{}", None, threading.Event())
    assert heard.is_set()
    assert not tell(lambda: None, "/sessions/7/lost", b"{}", None, threading.Event())


def test_a_gateway_that_ends_stops_saying_it() -> None:
    closing = threading.Event()
    closing.set()
    assert not tell(lambda: "http://127.0.0.1:1", "/sessions/7/lost", b"{}", None, closing)
