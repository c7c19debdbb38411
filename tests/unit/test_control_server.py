"""The control API's server on a socket that was bound before: its heads, its bounds, its end."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from node.control_server import MAX_BODY, THREADS, ControlServer
from node.transport.http11 import MAX_HEAD

POST = b"POST /x HTTP/1.1\r\nHost: a\r\n"
HALF = {"silent": b"", "head": b"GET /healthz HT", "body": POST + b"Content-Length: 9\r\n\r\n{"}


@contextmanager
def serving(app: Callable[..., Any]) -> Iterator[tuple[ControlServer, tuple[str, int]]]:
    """Serve *app*; gives the server and its address."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        server = ControlServer(listener, app)
        server.shutdown_timeout = 0.2
        server.begin()
        try:
            yield server, listener.getsockname()
        finally:
            server.end()


def read_body(environ: dict[str, Any], start: Callable[..., object]) -> list[bytes]:
    """Answer with the body."""
    found = environ["wsgi.input"].read()
    start("200 OK", [("Content-Length", str(len(found)))])
    return [found]


def answer(address: tuple[str, int], data: bytes) -> bytes:
    """Return the first line of what comes back."""
    with socket.create_connection(address, timeout=10) as peer:
        peer.sendall(data)
        return peer.recv(4096).partition(b"\r\n")[0]


def test_answers_leave_without_waiting_for_acknowledgements() -> None:
    """Head and body are two writes: with Nagle's algorithm each call on a kept connection would take 40 ms."""
    with serving(read_body) as (server, _):
        assert server.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_heads_that_lie_are_refused_before_a_body_is_read(caplog: pytest.LogCaptureFixture) -> None:
    """A negative length was read for as long as the peer sent, one of 2^64 ended in a traceback."""
    refused = {
        b"Content-Length: -1": b"400",
        b"Content-Length: +3": b"400",
        b"Content-Length: 18446744073709551616": b"400",
        b"Content-Length: 3\r\nContent-Length: 4": b"400",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked": b"400",
        b"Transfer-Encoding: chunked": b"411",
        b"Content-Length: %d" % (MAX_BODY + 1): b"413",
        b"X: " + b"y" * MAX_HEAD: b"413",
    }
    with serving(read_body) as (_, address):
        assert answer(address, POST + b"Content-Length: 3\r\n\r\nabc") == b"HTTP/1.1 200 OK"
        for header, status in refused.items():
            assert answer(address, POST + header + b"\r\n\r\nabc").split()[1] == status, header[:60]
    assert not caplog.records


@pytest.mark.parametrize("what", HALF)
def test_peers_that_leave_things_half_way_do_not_delay_the_end(what: str) -> None:
    """They hold all threads and wait for some: each would have 10 s of silence."""
    with serving(read_body) as (server, address), ExitStack() as peers:
        for _ in range(2 * THREADS):
            peers.enter_context(socket.create_connection(address, timeout=10)).sendall(HALF[what])
        time.sleep(0.2)  # until the threads have them
        begun = time.monotonic()
        server.end()
        assert time.monotonic() - begun < 8
        assert all(t.daemon for t in threading.enumerate() if t.name.startswith("CP Server"))
