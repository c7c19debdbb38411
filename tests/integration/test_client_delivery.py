"""FaceClient over real sockets, against an entry that misbehaves on purpose and a coordinator that knows its place."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from client import FaceClient
from client.errors import ClientError, GaveUp, Refused, SessionGone

JPEG = b"\xff\xd8\xff a picture"
Reply = Callable[["Peer"], None]


class Peer(BaseHTTPRequestHandler):
    """Answers by the server's script; a frame's result tells the frame's own number as its sequence."""

    protocol_version = "HTTP/1.1"
    server: "Entry"

    def do_POST(self) -> None:
        self.data = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.note(self)
        self.server.reply(self)

    def do_GET(self) -> None:
        self.data = b""
        self.server.reply(self)

    def do_DELETE(self) -> None:
        self.server.deleted.append(self.path)
        self.send({})

    def send(self, document: object, status: int = 200, **headers: str) -> None:
        self.send_bytes(msgspec.json.encode(document), status, **{"Content_Type": "application/json", **headers})

    def send_bytes(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def result(self, status: str = "ok", code: int = 200) -> None:
        self.send({"session_id": 1, "sequence": self.number, "status": status, "boxes": []}, code)

    def cut(self) -> None:
        self.close_connection = True
        self.connection.close()

    @property
    def number(self) -> int:
        return int(self.headers.get("X-Sequence") or self.path.rsplit("/", 1)[1])

    @property
    def again(self) -> int:
        """How often this frame was sent before."""
        return self.server.seen[(self.headers["X-Client"], self.number)] - 1

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Entry(ThreadingHTTPServer):
    """A server on a free port with a script."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, reply: Reply) -> None:
        super().__init__(("127.0.0.1", 0), Peer)
        self.reply = reply
        self.seen: Counter[tuple[str, int]] = Counter()
        self.arrived: list[int] = []
        self.deleted: list[str] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def note(self, peer: Peer) -> None:
        if peer.headers.get("X-Client"):
            with self._lock:
                self.seen[(peer.headers["X-Client"], peer.number)] += 1
                self.arrived.append(peer.number)

    def handle_error(self, request: object, address: object) -> None:
        """A cut connection is what the test wants."""


@pytest.fixture
def entry() -> Iterator[Callable[[Reply], Entry]]:
    """Return a function that starts a server with a script."""
    servers: list[Entry] = []

    def start(reply: Reply) -> Entry:
        server = Entry(reply)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def session_of(place: Entry, state: str = "running") -> dict[str, object]:
    url = f"{place.url}/sessions/1/key"
    return {"session_id": 1, "session_url": url, "results_url": f"{url}/results", "state": state}


Starter = Callable[[Reply], Entry]


@pytest.mark.parametrize(
    "trouble",
    [
        Peer.cut,
        lambda peer: peer.send({"status": 503, "title": "full"}, 503, Retry_After="0"),
        lambda peer: peer.send({"status": 504, "title": "slow"}, 504),
    ],
    ids=["cut", "full", "slow"],
)
def test_a_frame_is_sent_again_under_the_same_number(entry: Starter, trouble: Reply) -> None:
    place = entry(lambda peer: trouble(peer) if peer.again < 2 else peer.result())
    with FaceClient(session=f"{place.url}/sessions/1/key") as client:
        results = list(client.stream([JPEG] * 5, window=2))
    assert [(r.number, r.sequence, r.ok) for r in results] == [(n, n, True) for n in range(5)]
    assert set(place.seen.values()) == {3}
    assert len({name for name, _ in place.seen}) == 1


def test_results_keep_the_order_of_the_frames_though_answers_do_not(entry: Starter) -> None:
    """Frame 0 is answered only after frame 7 has been: the stream still begins with 0."""
    last_came = threading.Event()

    def reply(peer: Peer) -> None:
        if peer.number == 0:
            last_came.wait(10)
        if peer.number == 7:
            last_came.set()
        peer.result()

    place = entry(reply)
    with FaceClient(session=f"{place.url}/sessions/1/key") as client:
        results = list(client.stream([JPEG] * 20, window=8))
    assert [r.sequence for r in results] == list(range(20))


def test_never_more_frames_are_under_way_than_the_window(entry: Starter) -> None:
    under_way, most, lock = [0], [0], threading.Lock()

    def reply(peer: Peer) -> None:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        threading.Event().wait(0.01)
        with lock:
            under_way[0] -= 1
        peer.result()

    place = entry(reply)
    with FaceClient(session=f"{place.url}/sessions/1/key") as client:
        assert len(list(client.stream([JPEG] * 30, window=4))) == 30
    assert 1 < most[0] <= 4


def test_a_frame_that_is_not_taken_fails_alone(entry: Starter) -> None:
    problem = {"type": "/problems/unsupported-media-type", "status": 415, "detail": "not a picture"}
    place = entry(lambda peer: peer.result() if peer.data.startswith(b"\xff\xd8") else peer.send(problem, 415))
    with FaceClient(session=f"{place.url}/sessions/1/key") as client:
        good, bad, after = client.stream([JPEG, b"text", JPEG])
    assert (good.ok, bad.ok, after.ok) == (True, False, True)
    assert bad.reason == "not a picture"
    assert bad.sequence is None


@pytest.mark.parametrize(("status", "code"), [("failed", 422), ("failed", 500), ("dropped", 503)])
def test_a_result_is_final_whatever_its_http_status(entry: Starter, status: str, code: int) -> None:
    place = entry(lambda peer: peer.result(status, code))
    with FaceClient(session=f"{place.url}/sessions/1/key") as client:
        assert client.post(JPEG).status == status
    assert sum(place.seen.values()) == 1


def test_a_picture_comes_with_its_result(entry: Starter) -> None:
    def reply(peer: Peer) -> None:
        if peer.command == "GET":
            assert peer.path == "/sessions/1/key/results/5"
            peer.result()
        else:
            assert peer.headers["Accept"] == "image/jpeg"
            peer.send_bytes(b"drawn", Content_Type="image/jpeg", X_Frame_Sequence="5")

    place = entry(reply)
    with FaceClient(session=f"{place.url}/sessions/1/key", picture=True) as client:
        result = client.post(JPEG)
    assert (result.picture, result.sequence, result.ok) == (b"drawn", 5, True)


def test_an_accepted_frame_is_fetched_from_its_location(entry: Starter) -> None:
    def reply(peer: Peer) -> None:
        if peer.command == "GET":
            peer.result()
        else:
            peer.send({}, 202, Location=f"/sessions/1/key/results/{peer.number}", Retry_After="0")

    place = entry(reply)
    with FaceClient(session=f"{place.url}/sessions/1/key") as client:
        assert client.post(JPEG).sequence == 0


def test_the_session_is_found_again_where_it_moved(entry: Starter) -> None:
    """The first entry dies in mid-stream; the coordinator names the second; each result comes once, in order."""
    second = entry(Peer.result)
    died = threading.Event()

    def die_at_five(peer: Peer) -> None:
        if peer.number < 5:
            peer.result()
        else:
            died.set()
            peer.cut()

    first = entry(die_at_five)
    coordinator = entry(lambda peer: peer.send(session_of(second if died.is_set() else first)))
    with FaceClient("face_recognition", coordinator=coordinator.url) as client:
        results = list(client.stream([JPEG] * 20, window=4))
    assert [r.number for r in results] == list(range(20))
    assert all(r.ok for r in results)
    assert set(second.arrived) >= set(range(8, 20))
    assert coordinator.deleted == ["/sessions/1"]


def test_a_deleted_session_ends_the_stream_with_advice(entry: Starter) -> None:
    place = entry(lambda peer: peer.send({"status": 404, "title": "gone"}, 404))
    asked: list[str] = []

    def coordinator_reply(peer: Peer) -> None:
        asked.append(peer.path)
        if len(asked) == 1:
            peer.send(session_of(place))
        else:
            peer.send({"status": 404}, 404)

    coordinator = entry(coordinator_reply)
    with (
        FaceClient(session=1, coordinator=coordinator.url) as client,
        pytest.raises(SessionGone, match="create another"),
    ):
        client.post(JPEG)
    assert coordinator.deleted == []  # it was attached to, not made here


def test_a_session_that_does_not_start_is_not_left_behind(entry: Starter) -> None:
    place = entry(Peer.result)
    coordinator = entry(lambda peer: peer.send(session_of(place, "failed")))
    with pytest.raises(SessionGone, match="failed"):
        FaceClient("face_recognition", coordinator=coordinator.url)
    assert coordinator.deleted == ["/sessions/1"]


def test_a_missing_token_is_said_at_once(entry: Starter) -> None:
    place = entry(lambda peer: peer.send({"status": 401, "title": "Unauthorized"}, 401))
    with (
        FaceClient(session=f"{place.url}/sessions/1/key") as client,
        pytest.raises(Refused, match="FACESERVICE_TOKEN"),
    ):
        client.post(JPEG)
    assert sum(place.seen.values()) == 1


def test_patience_ends(entry: Starter) -> None:
    place = entry(Peer.cut)
    with (
        FaceClient(session=f"{place.url}/sessions/1/key", patience_s=0.4) as client,
        pytest.raises(GaveUp, match=r"0\.4 s"),
    ):
        client.post(JPEG)
    assert sum(place.seen.values()) > 1


def test_a_stream_left_early_does_not_block_the_next_post(entry: Starter) -> None:
    place = entry(Peer.result)
    with FaceClient(session=f"{place.url}/sessions/1/key") as client:
        for result in client.stream([JPEG] * 100, window=4):
            if result.number == 3:
                break
        assert client.post(JPEG).ok
        assert [r.ok for r in client.stream([JPEG] * 3)] == [True] * 3


def test_an_error_of_the_source_comes_after_the_results_before_it(entry: Starter) -> None:
    place = entry(Peer.result)

    def source() -> Iterator[bytes]:
        yield JPEG
        yield JPEG
        raise ClientError("camera unplugged")

    got = []
    with (
        FaceClient(session=f"{place.url}/sessions/1/key") as client,
        pytest.raises(ClientError, match="camera unplugged"),
    ):
        for result in client.stream(source()):
            got.append(result.number)
    assert got == [0, 1]
