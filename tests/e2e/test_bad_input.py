"""Whatever a client sends: the honest status, a word that says why, and the session goes on with the next frame."""

import json
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import msgspec
import pytest
import requests

from tests.conftest import Cluster
from tests.daemons import ROOT
from tests.e2e import json_bombs
from tests.e2e.json_bombs import Port, Send
from tests.e2e.live_session import JPEG, PACKET, LiveSession
from wire import packet
from wire.packet import BoxesPart, EncodedPart, Header, ImagePart, Kind, Part


def small(photo: Path) -> bytes:
    """Return *photo* at a third of its size, as JPEG: a Haar detector is done with it in 15 ms."""
    picture = cv2.imread(str(photo))
    assert picture is not None
    return cv2.imencode(".jpg", cv2.resize(picture, None, fx=0.35, fy=0.35))[1].tobytes()


SPLIT = {0: 1, 1: 2, 2: 2, 3: 2}  # decode on node 1, the rest on node 2
PHOTO = small(ROOT / "samples/photos/obama2.jpg")
WORDS = b"This is not a picture. " * 20
PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def session(shared_cluster: Cluster) -> Iterator[LiveSession]:
    """face_detection over two nodes; its entry is node 1."""
    session = LiveSession.create(shared_cluster.url, "face_detection", variant="haar", pin=SPLIT)
    yield session
    last = session.post(PHOTO).json()["sequence"]
    books = session.settled_books(last + 1)
    assert (books["frames_in"], books["delivered"], books["dropped"]) == (last + 1, last + 1, {})
    session.close()


@pytest.fixture(scope="module")
def expected(session: LiveSession) -> list[dict[str, Any]]:
    """The boxes of the good photo."""
    boxes: list[dict[str, Any]] = session.post(PHOTO).json()["boxes"]
    assert boxes
    return boxes


@pytest.fixture(autouse=True)
def the_session_goes_on(session: LiveSession, expected: list[dict[str, Any]]) -> Iterator[None]:
    """After each test a good photo gets its result."""
    yield
    response = session.post(PHOTO)
    assert (response.status_code, response.json()["boxes"]) == (200, expected)


def problem(response: requests.Response, status: int) -> dict[str, Any]:
    """Return the problem+json of *response*, whose status must be *status*."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == PROBLEM
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["type"].startswith("/problems/")
    assert body["title"]
    assert body["detail"], "nobody is told why"
    return body


def png(width: int, height: int) -> bytes:
    """Return the head of a PNG of that size, its checksum right, and a few bytes of pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "media_type", "told"),
    [
        pytest.param(WORDS, JPEG, "not a picture", id="text called JPEG"),
        pytest.param(PHOTO[: len(PHOTO) // 2], JPEG, "cut off", id="JPEG cut in half"),
        pytest.param(PHOTO[:-2], JPEG, "cut off", id="JPEG less its end marker"),
        pytest.param(PHOTO[:2], JPEG, "not a picture", id="two bytes"),
        pytest.param(png(100_000, 100_000), "image/png", "more than 100000000 pixels", id="PNG of 10 gigapixels"),
        pytest.param(png(2**31 - 1, 2**31 - 1), "image/png", "pixels", id="PNG as large as its head can say"),
        pytest.param(png(640, 480), "image/png", "", id="PNG without its pixels"),
        pytest.param(b"\xff" * 100_000, JPEG, "", id="100 KB of FF"),
        pytest.param(b"\0" * 100_000, "image/x-unheard-of", "", id="zeros of an unknown kind"),
    ],
)
def test_a_frame_that_is_no_picture_fails_alone(session: LiveSession, data: bytes, media_type: str, told: str) -> None:
    """422, and the body is the frame's result: failed, by which handler, and why."""
    response = session.post(data, media_type)
    assert response.status_code == 422, response.text
    assert response.headers["Content-Type"] == "application/json"
    result = response.json()
    assert (result["status"], result["boxes"], result["ended_by"]) == ("failed", [], 0)
    assert told in result["reason"]
    kept = session.result(result["sequence"])
    assert (kept.status_code, kept.json()) == (200, result)


def test_a_failed_frame_has_no_drawn_picture(session: LiveSession) -> None:
    response = session.post(WORDS, Accept="image/jpeg")
    assert (response.status_code, response.headers["Content-Type"]) == (422, "application/json")
    assert response.json()["status"] == "failed"


@pytest.mark.parametrize(
    ("data", "headers", "status"),
    [
        pytest.param(b"", {}, 400, id="empty body"),
        pytest.param(bytes(40 << 20), {}, 413, id="40 MB"),
        pytest.param(WORDS, {"Content-Type": "text/plain"}, 415, id="text"),
        pytest.param(b"{}", {"Content-Type": "application/json"}, 415, id="JSON"),
        pytest.param(PHOTO, {"Content-Type": ""}, 415, id="no media type"),
        pytest.param(PHOTO, {"Accept": "text/html"}, 406, id="Accept: text/html"),
        pytest.param(PHOTO, {"Accept": "image/gif"}, 406, id="Accept: image/gif"),
        pytest.param(PHOTO, {"Accept": "application/json;q=0"}, 406, id="Accept: nothing"),
        pytest.param(PHOTO, {"Prefer": "wait=soon"}, 400, id="Prefer: wait=soon"),
    ],
)
def test_a_post_that_cannot_be_taken_is_a_problem(
    session: LiveSession, data: bytes, headers: dict[str, str], status: int
) -> None:
    """It is no frame: the books do not grow by it."""
    before = session.post(PHOTO).json()["sequence"]
    response = session.http.post(session.url, data=data, headers={"Content-Type": JPEG} | headers, timeout=20)
    body = problem(response, status)
    assert session.url.rpartition("/")[2] not in json.dumps(body), "the session's key is a secret"
    assert session.post(PHOTO).json()["sequence"] == before + 1


def test_a_chunked_body_wants_a_length(session: LiveSession) -> None:
    response = requests.post(session.url, data=iter([PHOTO]), headers={"Content-Type": JPEG}, timeout=20)
    problem(response, 411)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_only_post_makes_frames(session: LiveSession, method: str) -> None:
    response = session.http.request(method, session.url, timeout=20)
    problem(response, 405)
    assert response.headers["Allow"] == "POST"  # RFC 9110, 15.5.6


@pytest.mark.parametrize(
    "path",
    ["/", "/sessions", "/sessions/4711/{key}", "/sessions/{id}/guessed", "/sessions/{id}/{key}x", "/sessions/x/{key}",
     "/sessions/-1/{key}", "/sessions/{id}/{key}/nothing", "/sessions/{id}", "/sessions/%zz"],
)  # fmt: skip
def test_unknown_places_are_404(session: LiveSession, path: str) -> None:
    address, key = urlsplit(session.url), session.url.rpartition("/")[2]
    url = f"http://{address.netloc}" + path.format(id=session.id, key=key)
    problem(session.http.post(url, data=PHOTO, headers={"Content-Type": JPEG}, timeout=20), 404)


@pytest.mark.parametrize(
    ("query", "status"), [("/4711", 404), ("/x", 404), ("/-1", 404), ("?after=x", 400), ("?after=-2", 400)]
)
def test_unknown_results_are_404(session: LiveSession, query: str, status: int) -> None:
    problem(session.get(session.results_url + query), status)


# --- bytes that are no HTTP ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, id="TLS"),
        pytest.param(b"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: many\r\n\r\n", 400, id="length is a word"),
        pytest.param(b"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", 400, id="length below 0"),
        pytest.param(
            b"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400, id="two lengths"
        ),
        pytest.param(b"POST {path} HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431, id="head of 20 KB"),
        pytest.param(b"NONSENSE\r\n\r\n", 400, id="no request line"),
    ],
)
def test_heads_that_are_no_http_are_answered_and_closed(session: LiveSession, head: bytes, status: int) -> None:
    address = urlsplit(session.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as sock:
        sock.sendall(head.replace(b"{path}", address.path.encode()))
        answer = b""
        while data := sock.recv(65536):
            answer += data
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert PROBLEM.encode() in answer


def test_a_client_that_goes_away_in_its_body_leaves_no_frame(session: LiveSession) -> None:
    address, before = urlsplit(session.url), session.post(PHOTO).json()["sequence"]
    for _ in range(20):  # more than the window has places
        with socket.create_connection((address.hostname, address.port), timeout=10) as sock:
            head = f"POST {address.path} HTTP/1.1\r\nHost: a\r\nContent-Type: {JPEG}\r\nContent-Length: {len(PHOTO)}"
            sock.sendall(head.encode() + b"\r\n\r\n" + PHOTO[:1000])
    assert session.post(PHOTO).json()["sequence"] == before + 1


# --- packets ------------------------------------------------------------------------------------------


def packed(session: LiveSession, part: Part | None, *buffers: bytes, **changes: Any) -> bytes:
    """Return a packet for the session's first handler."""
    fields = {"session_id": session.id, "epoch": 1, "sequence": 0, "timestamp": 0.0, "origin": 1, "payload": part}
    return b"".join(bytes(p) for p in packet.encode(Header(**(fields | changes)), buffers))


ENCODED = EncodedPart(media_type=JPEG, buffer=0)
GARBAGE = [
    pytest.param(b"\xc1" * 100, id="no header length"),
    pytest.param(b"\x10\0\0\0" + b"\xc1" * 100, id="no MessagePack"),
    pytest.param(b"\x05\0\0\0" + msgspec.msgpack.encode("word"), id="MessagePack, no header"),
    pytest.param(b"\xff\xff\xff\xff" + bytes(100), id="a header of 4 GB"),
    pytest.param(b"\xe8\x03\0\0" + b"\x91" * 1000, id="1000 lists in each other"),
    pytest.param(b"a", id="one byte"),
]


@pytest.mark.parametrize("data", GARBAGE)
def test_what_is_no_packet_is_a_problem(session: LiveSession, data: bytes) -> None:
    problem(session.post(data, PACKET), 422)


def test_a_posted_packet_is_a_frame(session: LiveSession, expected: list[dict[str, Any]]) -> None:
    response = session.post(packed(session, ENCODED, PHOTO), PACKET)
    assert (response.status_code, response.json()["boxes"]) == (200, expected)


@pytest.mark.parametrize(
    ("part", "buffers"),
    [
        pytest.param(ImagePart(shape=(2, 2, 3), buffer=0), [bytes(12)], id="pixels, where JPEG is wanted"),
        pytest.param(BoxesPart(boxes=[]), [], id="boxes"),
        pytest.param(ENCODED, [WORDS], id="text"),
    ],
)
def test_a_packet_with_another_payload_fails_alone(session: LiveSession, part: Part, buffers: list[bytes]) -> None:
    response = session.post(packed(session, part, *buffers), PACKET)
    assert (response.status_code, response.json()["status"]) == (422, "failed"), response.text


@pytest.mark.parametrize(
    ("part", "buffers"),
    [
        pytest.param(None, [], id="no payload"),
        pytest.param(ENCODED, [], id="no buffer"),
        pytest.param(ImagePart(shape=(1000, 1000, 3), buffer=0), [bytes(12)], id="a shape larger than its buffer"),
        pytest.param(ImagePart(shape=(2, 2, 4), buffer=0), [bytes(16)], id="four channels"),
    ],
)
def test_a_packet_that_lies_is_a_problem(session: LiveSession, part: Part | None, buffers: list[bytes]) -> None:
    problem(session.post(packed(session, part, *buffers), PACKET), 422)


def hop(session: LiveSession, data: bytes, *, place: str = "handlers/0/inputs/0", kind: str = PACKET) -> Any:
    """Post to the entry node as another node would."""
    url = f"http://{urlsplit(session.url).netloc}/sessions/{session.id}/{place}"
    return session.http.post(url, data=data, headers={"Content-Type": kind}, timeout=20)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({"epoch": 0}, 409, id="a stale epoch"),
        pytest.param({"session_id": 4711}, 422, id="another session"),
        pytest.param({"handler_id": 1}, 422, id="another handler"),
        pytest.param({"port": 1}, 422, id="another input"),
        pytest.param({"kind": Kind.RESULT}, 422, id="a result"),
        pytest.param({"sequence": 2**63}, 422, id="a sequence of 64 bits"),
    ],
)
def test_a_hop_with_a_wrong_header_is_refused(session: LiveSession, changes: dict[str, Any], status: int) -> None:
    problem(hop(session, packed(session, ENCODED, PHOTO, **changes)), status)


@pytest.mark.parametrize("changes", [{}, {"handler_id": 0, "port": 0}])
def test_a_hop_is_addressed_by_its_url_at_least(session: LiveSession, changes: dict[str, Any]) -> None:
    """Its frame is nobody's here: the entry ignores the result of a sequence that it never gave."""
    assert hop(session, packed(session, ENCODED, PHOTO, **changes)).status_code == 202


@pytest.mark.parametrize(
    ("place", "status"),
    [
        ("handlers/0/inputs/1", 404),
        ("handlers/1/inputs/0", 404),  # it is on the other node
        ("handlers/4711/inputs/0", 404),
        ("handlers/0/inputs/x", 404),
    ],
)
def test_a_hop_to_a_place_that_is_not_here_is_refused(session: LiveSession, place: str, status: int) -> None:
    problem(hop(session, packed(session, ENCODED, PHOTO), place=place), status)


@pytest.mark.parametrize("place", ["handlers/0/inputs/0", "results"])
@pytest.mark.parametrize("data", GARBAGE)
def test_garbage_from_another_node_is_refused(session: LiveSession, place: str, data: bytes) -> None:
    problem(hop(session, data, place=place), 422)
    problem(hop(session, data, place=place, kind="application/octet-stream"), 415)


def test_a_result_of_a_frame_that_nobody_sent_changes_nothing(session: LiveSession) -> None:
    data = packed(session, BoxesPart(boxes=[]), sequence=10**9, kind=Kind.RESULT, handler_id=1)
    assert hop(session, data, place="results").status_code == 202
    problem(hop(session, packed(session, ENCODED, PHOTO, epoch=0, kind=Kind.RESULT), place="results"), 409)


# --- the coordinator ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"service": 1.5}, "/service"),
        ({"service": "face_recognitoin"}, "/service"),
        ({"variant": "cnn"}, "/variant"),
        ({"window": "many"}, "/window"),
        ({"window": 0}, "/window"),
        ({"start": "yes"}, "/start"),
        ({"pin": {"0": "edge"}}, "/pin"),
        ({"pin": {"0": 4711}}, "/pin/0"),
        ({"pin": {"77": 1}}, "/pin/77"),
        ({"entry_node": 4711}, "/entry_node"),
        ({"delivery": "perhaps"}, "/delivery"),
        ({"algorithm": "guess"}, "/algorithm"),
        ({"objective": {"min_fps": "fast"}}, "/objective/min_fps"),
        ({"params": {"1": {"scale_factor": "big"}}}, "/params/1"),
        ({"params": {"1": {"surprise": 1}}}, "/params/1"),
        ({"surprise": 1}, "/surprise"),
    ],
    ids=str,
)
def test_wrong_content_of_a_session_is_422_with_its_place(
    session: LiveSession, change: dict[str, Any], pointer: str
) -> None:
    before = _sessions(session.coordinator)
    body = {"service": "face_detection"} | change
    response = requests.post(f"{session.coordinator}/sessions", json=body, timeout=20)
    found = problem(response, 422)["pointer"]
    assert found == pointer or found.startswith(pointer + "/")
    assert _sessions(session.coordinator) == before, "what was refused is not kept"


def _sessions(coordinator: str) -> list[int]:
    listed = requests.get(f"{coordinator}/sessions", timeout=20).json()["sessions"]
    return [s["session_id"] for s in listed]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"params": ' + b'{"1":' * 100_000, 400),
        (b"[]", 422),
        (b"7", 422),
    ],
)
def test_what_is_no_session_is_refused(session: LiveSession, data: bytes, status: int) -> None:
    headers = {"Content-Type": "application/json"}
    problem(requests.post(f"{session.coordinator}/sessions", data=data, headers=headers, timeout=20), status)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/sessions/4711", 404),
        ("DELETE", "/sessions/4711", 404),
        ("POST", "/sessions/4711/start", 404),
        ("POST", "/sessions/4711/stop", 404),
        ("POST", "/sessions/4711/reallocate", 404),
        ("GET", "/sessions/4711/events", 404),
        ("GET", "/sessions/none", 404),
        ("GET", "/sessions/99999999999999999999999", 404),
        ("GET", "/nodes/4711", 404),
        ("POST", "/nodes/4711/cordon", 404),
        ("GET", "/sessions?after=99999999999999999999999", 400),
        ("GET", "/sessions?limit=0", 400),
        ("GET", "/nothing", 404),
        ("PUT", "/sessions", 405),
    ],
)
def test_unknown_ids_and_methods_are_told(session: LiveSession, method: str, path: str, status: int) -> None:
    problem(requests.request(method, session.coordinator + path, timeout=20), status)


def test_a_second_start_and_a_second_stop_are_409(shared_cluster: Cluster, session: LiveSession) -> None:
    """And frames are taken only in between."""
    problem(session.command("start"), 409)
    other = LiveSession.create(shared_cluster.url, "face_detection", variant="haar", start=False)
    problem(other.post(PHOTO), 409)
    problem(other.command("stop"), 409)
    assert other.command("start").json()["state"] == "running"
    problem(other.command("start"), 409)
    assert other.post(PHOTO).status_code == 200
    assert other.command("stop").json()["state"] == "stopped"
    problem(other.command("stop"), 409)
    problem(other.post(PHOTO), 409)
    other.close()
    problem(other.command("start"), 409)
    problem(other.post(PHOTO), 404)


# --- JSON at all ports ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def peaks(shared_cluster: Cluster) -> dict[int, int]:
    """The most memory that each process has had before the first bomb."""
    return json_bombs.peaks(shared_cluster)


@pytest.fixture
def send(shared_cluster: Cluster, session: LiveSession, peaks: dict[int, int]) -> Iterator[Send]:
    """Return a function that sends a body to a port; nothing may be kept of what it sends."""
    before = json_bombs.kept(shared_cluster, session)
    yield json_bombs.sender(shared_cluster, session)
    assert json_bombs.kept(shared_cluster, session) == before


@pytest.mark.parametrize("port", json_bombs.PORTS, ids=json_bombs.NAME.format)
def test_what_is_no_json_is_refused(port: Port, send: Send) -> None:
    for name, body in json_bombs.bombs(port):
        answer = send(port, body)
        right = (400, 422, 413) if len(body) > port.limit else (400, 422)
        assert json_bombs.is_problem(answer, *right), (name, answer.text[:300])


@pytest.mark.parametrize("port", json_bombs.PORTS, ids=json_bombs.NAME.format)
def test_wrong_types_are_422_at_each_place(port: Port, send: Send) -> None:
    odd = []
    for path, value in json_bombs.wrong_types(port, port.good):
        answer = send(port, json.dumps(json_bombs.changed(port.good, path, value)).encode())
        if not json_bombs.is_problem(answer, 422):
            odd.append((path, value, answer.status_code, answer.text[:100]))
    assert not odd


@pytest.mark.parametrize("port", [*json_bombs.PORTS, *json_bombs.OLDER_PORTS], ids=json_bombs.NAME.format)
def test_too_much_and_packed_bodies_are_refused(port: Port, send: Send) -> None:
    assert json_bombs.is_problem(send(port, b" " * (port.limit + 1)), 413)
    for word, packed in json_bombs.PACKED.items():
        assert json_bombs.is_problem(send(port, packed, Content_Encoding=word), 415), word


@pytest.mark.parametrize("port", json_bombs.OLDER_PORTS, ids=json_bombs.NAME.format)
def test_the_older_protocol_says_failed(port: Port, send: Send) -> None:
    """HTTP 200 for everything is that protocol's way; members that it does not know are passed over."""
    for name, body in json_bombs.bombs(port):
        answer = send(port, body)
        if answer.status_code == 200:
            assert answer.json()["result"] == "Failed" or name == "a member in broken UTF-8", (name, answer.text)
        else:
            assert json_bombs.is_problem(answer, 413), name


@pytest.mark.parametrize("depth", [40, 900])
def test_deep_parameters_stop_at_the_first_door(depth: int, send: Send) -> None:
    """They may hold anything, and each daemon on their way reads them again: what one reads the next may not."""
    for port, body in json_bombs.too_deep(depth):
        answer = send(port, body)
        if port in json_bombs.OLDER_PORTS:
            assert (answer.status_code, answer.json()["result"]) == (200, "Failed")
        else:
            assert json_bombs.is_problem(answer, 422) and "levels" in answer.json()["detail"], answer.text[:300]


def test_after_all_that_the_next_good_report_is_stored(
    shared_cluster: Cluster, session: LiveSession, peaks: dict[int, int]
) -> None:
    """Also a long one; the same processes live, and none has had much more memory."""
    now = json_bombs.peaks(shared_cluster)
    assert now.keys() == peaks.keys(), "a process has died"
    assert not {pid: (peaks[pid], mb) for pid, mb in now.items() if mb - peaks[pid] > json_bombs.GROWTH_MB}
    send, port = json_bombs.sender(shared_cluster, session), json_bombs.PORTS[0]
    row = json_bombs.report()["packet_info"][0]
    many = [row | {"sequence": n} for n in range(30_000)]
    answer = send(port, json.dumps(json_bombs.report(2, packet_info=many)).encode())
    assert answer.status_code == 200, answer.text
    for _ in range(4):  # both workers
        assert send(port, json.dumps(json_bombs.report(3)).encode()).status_code == 200
    assert json_bombs.kept(shared_cluster, session)[0] == [2, 2, 30_001, 2, 2, 2]
    for daemon in (shared_cluster.collector, shared_cluster.coordinator):
        assert "Traceback" not in daemon.log.read_text()
