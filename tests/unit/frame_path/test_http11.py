"""HTTP on the data port, over real sockets: whatever peers send, it stays in step or says so and ends."""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.gateway.loop import Loop
from node.gateway.server import Server, View
from node.transport import connection as connections
from node.transport.connection import Connection
from node.transport.http11 import MAX_HEAD, Disconnected, HttpError, Request, parse_head
from node.transport.negotiation import accepts, prefer

HOST = b"Host: n\r\n"


def head(line: str, *headers: str) -> bytes:
    return "\r\n".join([line, "Host: n", *headers, "", ""]).encode("latin-1")


# --- heads --------------------------------------------------------------------------------------------


def test_a_head_is_read() -> None:
    request = parse_head(head("POST /sessions/7/a%20b?after=5&x= HTTP/1.1", "Content-Length: 12", "X-Client: me"))
    assert (request.method, request.path, request.query) == ("POST", ["sessions", "7", "a b"], {"after": "5"})
    assert (request.content_length, request.keep_alive, request.headers["x-client"]) == (12, True, "me")


def test_percent_encoding_makes_no_new_segments() -> None:
    assert parse_head(head("GET /a%2Fb/%e2%82%ac HTTP/1.1")).path == ["a/b", "€"]


@pytest.mark.parametrize(
    ("line", "path"),
    [("GET / HTTP/1.1", [""]), ("GET /a//b/ HTTP/1.1", ["a", "", "b", ""]), ("GET /? HTTP/1.1", [""])],
)
def test_empty_segments_stay(line: str, path: list[str]) -> None:
    """/sessions//x is not /sessions/x."""
    assert parse_head(head(line)).path == path


@pytest.mark.parametrize("size", ["", "Content-Length: 0", "Content-Length: 5"])
@pytest.mark.parametrize(
    ("version", "wish", "keeps"),
    [
        ("1.1", "A: b", True),
        ("1.1", "Connection: close", False),
        ("1.0", "A: b", False),
        ("1.0", "Connection: keep-alive", True),
    ],
)
def test_a_peer_may_ask_that_the_connection_ends(version: str, wish: str, keeps: bool, size: str) -> None:
    headers = [h for h in (wish, size) if h]
    assert parse_head(head(f"GET / HTTP/{version}", *headers)).keep_alive is keeps


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost n\r\n\r\n", 400),
        (head("GET / HTTP/1.1", "no colon"), 400),
        (head("GET / HTTP/1.1", "A : b"), 400),
        (head("GET /\x00 HTTP/1.1"), 400),
        (head("GET /%ff HTTP/1.1"), 400),
        (head("GET /%c0%af HTTP/1.1"), 400),
        (head("CONNECT a:1 HTTP/1.1"), 400),
        (head("POST / HTTP/1.1", "Content-Length: 5", "Content-Length: 5"), 400),
        (head("POST / HTTP/1.1", "Content-Length: 5", "Content-Length: 6"), 400),
        (head("POST / HTTP/1.1", "Content-Length: -5"), 400),
        (head("POST / HTTP/1.1", "Content-Length: +5"), 400),
        (head("POST / HTTP/1.1", "Content-Length: 5, 5"), 400),
        (head("POST / HTTP/1.1", "Content-Length: 0x5"), 400),
        (head("POST / HTTP/1.1", "Content-Length: 99999999999999999999"), 400),
        (head("POST / HTTP/1.1", "Content-Length: \xb2"), 400),
        (head("POST / HTTP/1.1", "Transfer-Encoding: chunked"), 411),
        (head("POST / HTTP/1.1", "Transfer-Encoding: chunked", "Content-Length: 5"), 400),
    ],
)
def test_a_bad_head_has_an_honest_status_and_ends_the_connection(bad: bytes, status: int) -> None:
    with pytest.raises(HttpError) as caught:
        parse_head(bad)
    assert (caught.value.status, caught.value.close) == (status, True)


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_head_is_a_request_or_an_http_error(data: st.DataObject) -> None:
    damaged = bytearray(head("POST /sessions/7/key?a=%20 HTTP/1.1", "Content-Length: 12", "Prefer: wait=5"))
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 5))] = data.draw(st.integers(0, 255))
    try:
        request = parse_head(bytes(damaged))
    except HttpError as error:
        assert error.close
    else:
        assert 0 <= request.content_length < 10**15


@given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=60))
def test_prefer_and_accept_take_any_text(text: str) -> None:
    prefer({"prefer": text})
    accepts({"accept": text}, ["application/json"])


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("wait=5", {"wait": "5"}),
        ("respond-async, wait=10", {"respond-async": "", "wait": "10"}),
        ('Wait = "7"', {"wait": "7"}),
        ("wait=5;strict, wait=9", {"wait": "5"}),
        ("", {}),
        (",,", {}),
    ],
)
def test_prefer(text: str, means: dict[str, str]) -> None:
    assert prefer({"prefer": text}) == means


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("image/jpeg", "image/jpeg"),
        ("IMAGE/*", "image/jpeg"),
        ("image/png;q=0.5, image/jpeg;q=0.4", "image/png"),
        ("application/json;q=0, */*", "image/jpeg"),
        ("image/jpeg;q=0, image/*", "image/png"),
        ("text/html, */*;q=0.1", "application/json"),
        ("image/jpeg;q=nan", None),
        ("image/jpeg;q=much", None),
        ("image/jpeg;q=0", None),
        ("text/html", None),
    ],
)
def test_accept(accept: str | None, answer: str | None) -> None:
    headers = {} if accept is None else {"accept": accept}
    assert accepts(headers, ["application/json", "image/jpeg", "image/png"]) == answer


def test_repeated_list_headers_count_together() -> None:
    request = parse_head(head("GET / HTTP/1.1", "Prefer: respond-async", "Prefer: wait=5"))
    assert prefer(request.headers) == {"respond-async": "", "wait": "5"}


# --- connections --------------------------------------------------------------------------------------


@dataclass
class Pair:
    """A connection and its peer's socket."""

    near: socket.socket
    peer: socket.socket
    connection: Connection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = Connection(self.near, idle_s=0.3, silence_s=0.3)


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, peer = socket.socketpair()
    peer.settimeout(5)
    with near, peer:
        yield Pair(near, peer)


def receive(connection: Connection) -> tuple[Request, bytes]:
    request = connection.read_request()
    assert request is not None
    return request, bytes(connection.read_body())


def test_requests_may_come_all_at_once(pair: Pair) -> None:
    pair.peer.sendall(b"".join(head(f"POST /{n} HTTP/1.1", f"Content-Length: {n}") + b"x" * n for n in range(50)))
    pair.peer.shutdown(socket.SHUT_WR)
    for n in range(50):
        request, body = receive(pair.connection)
        assert (request.path, body) == ([str(n)], b"x" * n)
    assert pair.connection.read_request() is None


BODY = bytes(range(256)) * 3
MESSAGE = head("POST /a HTTP/1.1", f"Content-Length: {len(BODY)}") + BODY + head("GET /b HTTP/1.1")


@settings(max_examples=60)
@given(st.lists(st.integers(1, len(MESSAGE) - 1), max_size=6))
def test_bytes_may_be_cut_anywhere(cuts: list[int]) -> None:
    near, peer = socket.socketpair()
    with near, peer:
        connection = Connection(near, silence_s=5.0)
        ends = [0, *sorted(cuts), len(MESSAGE)]

        def dribble() -> None:
            for start, end in zip(ends, ends[1:], strict=False):  # noqa: RUF007
                peer.sendall(MESSAGE[start:end])

        sender = threading.Thread(target=dribble)
        sender.start()
        assert receive(connection)[1] == BODY
        assert receive(connection)[0].path == ["b"]
        sender.join()


def test_a_body_goes_straight_to_where_it_belongs(pair: Pair) -> None:
    pair.peer.sendall(MESSAGE)
    request = pair.connection.read_request()
    assert request is not None
    place = bytearray(request.content_length + 64)
    pair.connection.read_body_into(memoryview(place)[64:])
    assert place[64:] == BODY


def test_a_body_is_asked_for_when_the_peer_expects_that(pair: Pair) -> None:
    for n in range(2):
        pair.peer.sendall(head("POST /a HTTP/1.1", "Content-Length: 3", "Expect: 100-Continue"))
        assert pair.connection.read_request() is not None
        threading.Timer(0.05, lambda: pair.peer.sendall(b"abc")).start()
        assert pair.connection.read_body() == b"abc", n
        assert pair.peer.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"


def test_a_refused_body_that_was_never_asked_for_ends_the_connection(pair: Pair) -> None:
    pair.peer.sendall(head("POST /a HTTP/1.1", "Content-Length: 3", "Expect: 100-continue"))
    pair.connection.read_request()
    assert not pair.connection.skip_body(1000)


def test_an_unwanted_body_is_skipped_up_to_a_limit(pair: Pair) -> None:
    pair.peer.sendall(MESSAGE)
    pair.connection.read_request()
    assert not pair.connection.skip_body(len(BODY) - 1)
    assert pair.connection.skip_body(len(BODY))
    assert receive(pair.connection)[0].path == ["b"]


@pytest.mark.parametrize("sent", [MESSAGE[:1], MESSAGE[:30], MESSAGE[:100]])
@pytest.mark.parametrize("closes", [True, False], ids=["gone", "silent"])
def test_a_peer_that_goes_or_falls_silent_within_a_request(pair: Pair, sent: bytes, closes: bool) -> None:
    pair.peer.sendall(sent)
    if closes:
        pair.peer.close()
    with pytest.raises(Disconnected):
        receive(pair.connection)


def test_a_peer_that_only_dribbles_its_body_is_cut(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is forgiven each time anew: a place in the window must not be held for ever by a byte a second."""
    monkeypatch.setattr(connections, "BODY_GRACE_S", 0.2)
    pair.peer.sendall(head("POST /a HTTP/1.1", "Content-Length: 1000"))
    stop = threading.Event()

    def dribble() -> None:
        while not stop.wait(0.02):
            pair.peer.send(b"x")

    sender = threading.Thread(target=dribble)
    sender.start()
    try:
        with pytest.raises(Disconnected, match="too slow"):
            receive(pair.connection)
    finally:
        stop.set()
        sender.join()


def test_an_idle_peer_is_let_go(pair: Pair) -> None:
    with pytest.raises(Disconnected, match="silent"):
        pair.connection.read_request()


@pytest.mark.parametrize("flood", [b"GET /" + b"a" * MAX_HEAD, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * MAX_HEAD])
def test_a_head_without_end_is_refused(pair: Pair, flood: bytes) -> None:
    sender = threading.Thread(target=pair.peer.sendall, args=(flood[: 2 * MAX_HEAD],))
    sender.start()
    with pytest.raises(HttpError) as caught:
        pair.connection.read_request()
    assert (caught.value.status, caught.value.close) == (431, True)
    pair.near.close()
    sender.join()


def test_many_pieces_are_sent_in_several_calls(pair: Pair) -> None:
    """More boxes with crops than one sendmsg takes pieces."""
    pieces = [bytes([n % 256]) * 200 for n in range(3000)] + [b""]
    sender = threading.Thread(target=pair.connection.send, args=pieces)
    sender.start()
    received = bytearray()
    while len(received) < 600_000:
        received += pair.peer.recv(1 << 16)
    sender.join()
    assert received == b"".join(pieces)


def test_a_peer_that_has_gone_is_noticed_without_sending(pair: Pair) -> None:
    assert not pair.connection.peer_gone()
    pair.peer.sendall(b"x")
    assert not pair.connection.peer_gone()
    pair.near.recv(1)
    pair.peer.close()
    assert pair.connection.peer_gone()


# --- the server ---------------------------------------------------------------------------------------


def view(request: Request, connection: Connection) -> None:
    match request.path:
        case ["echo"]:
            connection.respond(200, {}, bytes(connection.read_body()))
        case ["stream"]:
            connection.start_chunks({"Content-Type": "text/plain"})
            connection.send(b"one\n")
        case ["large"]:
            raise HttpError(413, "too large", close=True)
        case ["bug"]:
            raise KeyError("bug")
        case _:
            raise HttpError(404, "nothing here")


def by_loop(listener: socket.socket, view: View) -> Loop:
    """Serve as the data port does when nothing can be answered without a thread."""
    return Loop(listener, lambda request: None, view)


@pytest.fixture(params=[Server, by_loop])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[[], socket.socket]]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = request.param(listener, view)
    threading.Thread(target=server.serve, daemon=True).start()
    opened: list[socket.socket] = []

    def begin() -> socket.socket:
        opened.append(socket.create_connection(listener.getsockname(), timeout=10))
        return opened[-1]

    yield begin
    for sock in opened:
        sock.close()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def until_closed(sock: socket.socket) -> bytes:
    data = bytearray()
    while part := sock.recv(1 << 16):
        data += part
    return bytes(data)


def test_errors_keep_the_connection_in_step(connect: Callable[[], socket.socket]) -> None:
    sock = connect()
    sock.sendall(
        head("POST /nowhere HTTP/1.1", "Content-Length: 5")
        + b"GET /"
        + head("POST /echo HTTP/1.1", "Content-Length: 2", "Connection: close")
        + b"ok"
    )
    answer = until_closed(sock)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.endswith(b"\r\n\r\nok")


def test_a_fault_of_ours_is_a_500_and_the_server_lives_on(connect: Callable[[], socket.socket]) -> None:
    sock = connect()
    sock.sendall(head("GET /bug HTTP/1.1"))
    assert until_closed(sock).startswith(b"HTTP/1.1 500 ")
    again = connect()
    again.sendall(head("GET /echo HTTP/1.1", "Connection: close"))
    assert until_closed(again).startswith(b"HTTP/1.1 200 ")


def test_a_stream_ends_with_its_connection(connect: Callable[[], socket.socket]) -> None:
    """Its length is not told, so the end of the connection is the only end it has."""
    sock = connect()
    sock.sendall(head("GET /stream HTTP/1.1"))
    assert until_closed(sock).endswith(b"\r\n\r\none\n")


def test_a_refusal_reaches_a_peer_that_is_still_sending(connect: Callable[[], socket.socket]) -> None:
    sock = connect()
    sock.sendall(head("POST /large HTTP/1.1", "Content-Length: 30000000"))
    sock.sendall(bytes(30_000_000))
    assert until_closed(sock).startswith(b"HTTP/1.1 413 ")


def test_head_gets_no_body(connect: Callable[[], socket.socket]) -> None:
    sock = connect()
    sock.sendall(head("HEAD /nowhere HTTP/1.1") + head("HEAD /nowhere HTTP/1.1", "Connection: close"))
    answer = until_closed(sock)
    assert answer.count(b"HTTP/1.1 404 ") == 2
    assert b"{" not in answer


def test_a_packed_body_is_refused() -> None:
    """A gzip of a few KB may hold gigabytes: bodies are taken as they are."""
    head = b"POST /a HTTP/1.1\r\nContent-Length: 5\r\nContent-Encoding: %b\r\n\r\n"
    assert parse_head(head % b"identity").content_length == 5
    for encoding in (b"gzip", b"br", b"identity, gzip"):
        with pytest.raises(HttpError) as refused:
            parse_head(head % encoding)
        assert refused.value.status == 415
