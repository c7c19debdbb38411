"""The loop of the data port over real sockets: one thread, whatever its peers do."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from node.gateway import loop as loops
from node.gateway.loop import Loop
from node.gateway.tasks import AtOnce, MustWait, Task
from node.transport.connection import Connection
from node.transport.http11 import HttpError, Request

PATIENCE_S = 20.0


def head(path: str, length: int, *headers: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: n", f"Content-Length: {length}", *headers, "", ""]).encode()


class Echo(AtOnce):
    """Answers with the body, at once."""

    def __init__(self, length: int) -> None:
        self.room = memoryview(bytearray(length))

    def complete(self, connection: Connection, wake: Callable[[], None]) -> bool:
        connection.respond(200, {}, bytes(self.room))
        return True


class Late(Echo):
    """Answers when the test says so; `/turn` first has a thread wait for its turn."""

    def __init__(self, length: int, desk: "Desk", path: str) -> None:
        super().__init__(length)
        self._desk = desk
        self._path = path
        self.due = time.monotonic() + (0.0 if path == "due" else PATIENCE_S)

    def complete(self, connection: Connection, wake: Callable[[], None]) -> bool:
        self._desk.waiting.append(wake)
        self._desk.came.release()
        if self._path == "turn":
            raise MustWait(self._desk.turn)
        return False

    def answer(self, connection: Connection) -> None:
        connection.respond(200, {}, b"late " + bytes(self.room))


class Desk:
    """What the test and the loop share."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.came = threading.Semaphore(0)
        self.go = threading.Event()

    def turn(self) -> None:
        if not self.go.wait(PATIENCE_S):
            raise HttpError(503, "never its turn")

    def tasks(self, request: Request) -> Task | None:
        match request.path:
            case ["echo"]:
                return Echo(request.content_length)
            case [("late" | "turn" | "due") as path]:
                return Late(request.content_length, self, path)
            case ["refused"]:
                raise HttpError(503, "full")
        return None


def view(request: Request, connection: Connection) -> None:
    connection.respond(200, {}, b"thread " + bytes(connection.read_body()))


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def connect(desk: Desk) -> Iterator[Callable[[], socket.socket]]:
    listener = socket.create_server(("127.0.0.1", 0))
    loop = Loop(listener, desk.tasks, view)
    serving = threading.Thread(target=loop.serve)
    serving.start()
    opened: list[socket.socket] = []

    def begin() -> socket.socket:
        opened.append(socket.create_connection(listener.getsockname(), timeout=PATIENCE_S))
        return opened[-1]

    yield begin
    loop.end()
    serving.join(PATIENCE_S)
    for sock in opened:
        sock.close()
    listener.close()


def answer(sock: socket.socket) -> bytes:
    """Return the body of one answer of which nothing follows."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(1)
        assert part, "closed"
        data += part
    length = int(data.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    body = b""
    while len(body) < length:
        body += sock.recv(length - len(body))
    return body


def test_slow_peers_hold_nobody_up(connect: Callable[[], socket.socket]) -> None:
    """Half a head, a head without its body, half a body: others are served meanwhile, and they are when they go on."""
    whole = head("/echo", 4) + b"slow"
    slow = [(connect(), whole[:cut]) for cut in (10, len(whole) - 4, len(whole) - 2)]
    for sock, part in slow:
        sock.sendall(part)
    other = connect()
    other.sendall(head("/echo", 5) + b"other")
    assert answer(other) == b"other"
    for sock, part in slow:
        sock.sendall(whole[len(part) :])
        assert answer(sock) == b"slow"


def test_whoever_asks_finds_room_though_others_hold_every_place(
    connect: Callable[[], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest idle go first, and dripping a head is idling; a connection that is in use stays."""
    monkeypatch.setattr(loops, "MAX_CONNECTIONS", 8)
    busy = connect()
    busy.sendall(head("/echo", 1) + b"0")
    assert answer(busy) == b"0"
    others = [connect() for _ in range(7)]
    others[0].sendall(b"POST /ec")
    others[-1].sendall(head("/echo", 1) + b"0")
    assert answer(others[-1]) == b"0", "all are in by now, so that what busy asks next is later than they"
    for i in range(20):
        busy.sendall(head("/echo", 1) + b"1")
        assert answer(busy) == b"1"
        others.append(connect())
        others[-1].sendall(head("/echo", 2) + b"%02d" % i)
        assert answer(others[-1]) == b"%02d" % i
    assert others[0].recv(1) == b"", "it was let go"


def test_many_requests_in_one_piece_are_answered_in_order(connect: Callable[[], socket.socket]) -> None:
    sock = connect()
    kinds = ["/echo", "/thread", "/refused", "/echo"] * 10
    sock.sendall(b"".join(head(path, 2) + b"%02d" % i for i, path in enumerate(kinds)))
    for i, path in enumerate(kinds):
        body = answer(sock)
        if path == "/refused":
            assert b'"full"' in body
        else:
            assert body == (b"" if path == "/echo" else b"thread ") + b"%02d" % i


@pytest.mark.parametrize("path", ["/late", "/turn"])
def test_an_answer_that_comes_later_goes_before_the_next_request(
    connect: Callable[[], socket.socket], desk: Desk, path: str
) -> None:
    sock = connect()
    sock.sendall(head(path, 1) + b"1" + head("/echo", 1) + b"2")
    assert desk.came.acquire(timeout=PATIENCE_S)
    other = connect()
    other.sendall(head("/echo", 1) + b"3")
    assert answer(other) == b"3", "the loop goes on"
    desk.go.set()
    desk.waiting[0]()
    assert [answer(sock), answer(sock)] == [b"late 1", b"2"]


def test_who_has_closed_one_way_hears_the_answer(connect: Callable[[], socket.socket], desk: Desk) -> None:
    sock = connect()
    sock.sendall(head("/late", 1) + b"1")
    sock.shutdown(socket.SHUT_WR)
    assert desk.came.acquire(timeout=PATIENCE_S)
    other = connect()  # so that the loop has heard of the end before it may answer
    other.sendall(head("/echo", 1) + b"3")
    assert answer(other) == b"3"
    desk.waiting[0]()
    assert answer(sock) == b"late 1"


def test_an_answer_is_given_when_it_is_due(connect: Callable[[], socket.socket]) -> None:
    sock = connect()
    sock.sendall(head("/due", 1) + b"1")
    assert answer(sock) == b"late 1"


def test_a_peer_that_stops_within_a_body_is_cut(
    connect: Callable[[], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "body_seconds", lambda size: 0.1)
    sock = connect()
    sock.sendall(head("/echo", 10) + b"12345")
    assert sock.recv(100) == b""


def test_what_does_not_fit_is_sent_while_others_are_served(connect: Callable[[], socket.socket]) -> None:
    """A peer that does not read its answer keeps a thread waiting, not the loop."""
    body = bytes(range(256)) * (32 << 10)  # 8 MiB: over any socket's buffer
    sock, other = connect(), connect()
    sock.sendall(head("/echo", len(body)) + body)
    other.sendall(head("/echo", 1) + b"3")
    assert answer(other) == b"3"
    assert answer(sock) == body
    sock.sendall(head("/echo", 1) + b"4")
    assert answer(sock) == b"4"
