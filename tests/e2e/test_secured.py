"""The whole system with TLS and roles: it works, and whoever does not belong is refused, unnoticed by the others."""

import contextlib
import os
import re
import signal
import socket
import sqlite3
import ssl
import threading
import time
import warnings
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec
import psutil
import pytest
import requests

from client import doctor
from client.coordinator import Coordinator
from client.errors import ClientError
from client.face_client import FaceClient
from node.transport.hop import HopClient
from node.transport.http11 import Disconnected
from tests import certificates
from tests.conftest import starting
from tests.daemons import ROOT, Daemon, run
from tests.e2e.secured_system import HOLDERS, Secured, secured, wait_for
from wire import packet
from wire.access import ACCESS, OPEN
from wire.credential import Credential
from wire.messages import FrameStatus
from wire.packet import MEDIA_TYPE, EncodedPart, Header, Kind

PHOTO = ROOT / "samples/photos/obama2.jpg"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    starter = starting(folder)
    yield secured(next(starter), folder)
    next(starter, None)


@pytest.fixture(autouse=True)
def no_secret_is_told(system: Secured) -> Iterator[None]:
    """After each test: no token in a log, on a command line, in a child's environment, or in an answer."""
    told: list[str] = []
    original = requests.Session.send

    def send(session: requests.Session, request: requests.PreparedRequest, **options: object) -> requests.Response:
        answer = original(session, request, **options)  # type: ignore[arg-type]
        told.append(f"{answer.url} {answer.headers} {'' if options.get('stream') else answer.text}")
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests.Session, "send", send)
        yield
    for daemon in system.daemons.values():
        log = daemon.log.read_text()
        assert not any(key in log for key in keys(system)), "who may read a log may not read results"
        told += [log, *shown_by_processes(daemon)]
    assert told and not any(secret in text for text in told for secret in system.secrets)


def shown_by_processes(daemon: Daemon) -> Iterator[str]:
    """Yield the command lines of all its processes, and the environment of those that it has started."""
    for process in daemon.members():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            yield " ".join(process.cmdline())
            if process.pid != daemon.process.pid:
                yield str(process.environ())


def keys(system: Secured) -> list[str]:
    """Return the unguessable parts of all sessions' URLs."""
    sessions = system.call("GET", f"{system.url}/sessions", "admin").json()["sessions"]
    return [urlsplit(session["session_url"]).path.split("/")[3] for session in sessions]


@pytest.fixture(scope="module")
def camera(system: Secured) -> Iterator[FaceClient]:
    """A client whose session crosses from node 1 to node 2."""
    pin = {0: [1], **{handler: [2] for handler in range(1, 5)}}
    made = FaceClient(
        "face_recognition",
        coordinator=system.url,
        token=system.tokens["camera"],
        ca=system.ca,
        variant="haar",
        pin=pin,
        entry_node=1,
    )
    with made:
        yield made
        made.coordinator = Coordinator(system.url, Credential(system.tokens["admin"], Path(system.ca)))  # as of today


def addresses(system: Secured) -> list[str]:
    """Return the URLs of all ports."""
    urls = [ready.url for daemon in system.daemons.values() for ready in daemon.ready]
    return urls + [system.daemons[name].data_url for name in ("edge", "server")]


def test_a_photo_goes_in_and_a_name_comes_out_over_a_hop(system: Secured, camera: FaceClient) -> None:
    assert all(url.startswith("https://") for url in addresses(system))
    result = camera.post(PHOTO)
    assert result.status is FrameStatus.OK and [box.label for box in result.boxes] == ["obama"]
    assert {span.node_id for span in result.trace} == {1, 2}
    big = b"\xff" * 3_000_000  # more than any buffer on the way, and no picture
    assert camera.post(big + PHOTO.read_bytes()).status is FrameStatus.FAILED
    session = system.call("GET", f"{system.url}/sessions", "camera").json()["sessions"][0]
    headers = {"Authorization": f"Bearer {system.tokens['camera']}"}
    for url, said in ((session["video_url"], 200), (session["results_url"], 401)):  # the URL of the video is a secret
        with requests.get(url, stream=True, verify=system.ca, timeout=10) as answer:
            assert answer.status_code == said
    with requests.get(session["results_url"], headers=headers, stream=True, verify=system.ca, timeout=10) as stream:
        assert b'"obama"' in next(stream.iter_lines(chunk_size=1))
    wait_for(lambda: link_rows(system) > 0)


def link_rows(system: Secured) -> int:
    """Return how many rows of the hop have come over TLS to the collector."""
    query = "SELECT COUNT(*) FROM link_info WHERE node_id = 1 AND target_node_id = 2"
    with contextlib.closing(sqlite3.connect(system.folder / "faceservice.sqlite")) as connection:
        return int(connection.execute(query).fetchone()[0])


def test_whoever_trusts_another_authority_or_means_another_host_is_told(system: Secured) -> None:
    certificates.make(system.folder / "other", "localhost")
    other = str(system.folder / "other/ca.pem")
    for url in addresses(system):
        with pytest.raises(requests.exceptions.SSLError, match="certificate verify failed"):
            requests.get(f"{url}/healthz", verify=other, timeout=5)
        parts = urlsplit(url)
        wrong = "127.0.0.1" if parts.hostname == "localhost" else "localhost"
        with pytest.raises(requests.exceptions.SSLError, match="certificate verify failed"):
            requests.get(f"https://{wrong}:{parts.port}/healthz", verify=system.ca, timeout=5)
        assert requests.get(f"{url}/healthz", verify=system.ca, timeout=5).status_code == 200
    port = urlsplit(system.url).port
    for url, ca in ((system.url, other), (f"https://127.0.0.1:{port}", system.ca)):
        with pytest.raises(ClientError, match="certificate"):
            FaceClient("face_recognition", coordinator=url, token=system.tokens["camera"], ca=ca)


def test_a_hop_goes_to_no_node_with_the_name_of_another(system: Secured) -> None:
    """The gateway's own sender checks the name too: node 2's certificate is not for localhost."""

    port = urlsplit(system.daemons["server"].data_url).port
    credential = Credential(system.tokens["edge"], Path(system.ca))
    with pytest.raises(Disconnected, match="certificate verify failed"):
        HopClient(f"https://localhost:{port}", credential).post("/sessions/1/lost", [b"{}"])
    right = HopClient(f"https://127.0.0.1:{port}", credential)
    assert right.post("/sessions/999/lost", [b"{}"]).status == 404
    right.close()


def test_whoever_speaks_no_tls_or_an_old_one_is_refused_and_nobody_notices(system: Secured, camera: FaceClient) -> None:
    for url in addresses(system):
        with contextlib.suppress(requests.ConnectionError):  # closed without a word
            assert requests.get(f"{url.replace('https:', 'http:')}/healthz", timeout=15).status_code == 400
        place = (urlsplit(url).hostname or "", urlsplit(url).port or 0)
        with pytest.raises(OSError, match="alert protocol version|closed|reset|EOF"):  # noqa: RUF043
            old_tls(place)
        with socket.create_connection(place, 5) as sock:
            sock.sendall(bytes(range(256)))  # neither
        assert camera.post(PHOTO).status is FrameStatus.OK
    for daemon in system.daemons.values():
        assert "Traceback" not in daemon.log.read_text()


def test_nobody_waits_for_peers_that_never_end_a_handshake_or_a_head(system: Secured, camera: FaceClient) -> None:
    """At each port 200 at once: silent ones, halves of a greeting, and halves of a head. They hold no thread."""
    greeting, head = ssl.MemoryBIO(), b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: "
    unfinished = ssl.create_default_context(cafile=system.ca)
    with contextlib.suppress(ssl.SSLWantReadError):
        unfinished.wrap_bio(ssl.MemoryBIO(), greeting, server_hostname="localhost").do_handshake()
    half = greeting.read()[:100]
    for url in addresses(system):
        host, port = urlsplit(url).hostname or "", urlsplit(url).port or 0
        with contextlib.ExitStack() as peers:
            for number in range(200):
                sock = peers.enter_context(socket.create_connection((host, port), 10))
                if number % 3 == 1:
                    sock.sendall(half)
                elif number % 3 == 2 and number < 60:
                    peers.enter_context(unfinished.wrap_socket(sock, server_hostname=host)).sendall(head)
            begun = time.monotonic()
            assert requests.get(f"{url}/healthz", verify=system.ca, timeout=20).status_code == 200, url
            assert camera.post(PHOTO).status is FrameStatus.OK
            system.call("GET", f"{system.url}/nodes", "admin").raise_for_status()
            assert time.monotonic() - begun < 8, url  # silence is let go after 10 s
    for daemon in system.daemons.values():
        assert "Traceback" not in daemon.log.read_text()


def old_tls(place: tuple[str, int]) -> None:
    """Make a TLS 1.1 connection. Raises OSError."""
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(place, 5) as sock:
        old.wrap_socket(sock)


def test_a_node_speaks_for_itself_alone(system: Secured) -> None:
    beat = {"node_id": 2, "node_name": "x", "boot_id": "b", "control_url": "http://x", "data_url": "http://x"}
    beat |= {"handlers": [], "hardware": {}, "load": {}, "sessions": [], "version": "0", "timestamp": 0}
    answer = system.call("POST", f"{system.url}/nodes/2/heartbeat", "edge", beat)
    assert answer.status_code == 403 and "is node 1's: it cannot speak for node 2" in answer.json()["detail"]
    collector = system.daemons["collector"].url
    report = {"node_id": 2, "boot_id": "b", "report_id": 1}
    answer = system.call("POST", f"{collector}/reports", "edge", report)
    assert answer.status_code == 403 and "node 2" in answer.json()["detail"]
    assert system.call("POST", f"{collector}/reports", "server", report).status_code == 200


def test_a_node_sends_packets_for_sessions_that_it_has_a_part_in(system: Secured) -> None:
    """Node 2 has no part in this session: it sends neither frames, nor results, nor words of handlers' deaths."""
    body = {"service": "face_detection", "variant": "haar", "pin": dict.fromkeys(range(4), 1), "entry_node": 1}
    made = system.call("POST", f"{system.url}/sessions", "camera", body).json()
    number = made["session_id"]
    base = f"{system.daemons['edge'].data_url}/sessions/{number}"
    frame, result = packed(number, Kind.FRAME), packed(number, Kind.RESULT)
    for holder, statuses in (("server", (403, 403, 403)), ("edge", (202, 202, 202))):
        calls = (("handlers/0/inputs/0", frame), ("results", result), ("lost", b'{"handler_id": 0}'))
        for (place, data), status in zip(calls, statuses, strict=True):
            answer = requests.post(
                f"{base}/{place}", data, headers=hop_headers(system, holder), verify=system.ca, timeout=9
            )
            assert answer.status_code == status, (holder, place, answer.text)
    stale = requests.post(
        f"{base}/results",
        packed(number, Kind.RESULT, epoch=0),
        headers=hop_headers(system, "server"),
        verify=system.ca,
        timeout=9,
    )
    assert stale.status_code == 409, "a fenced node is told so first"
    system.call("DELETE", f"{system.url}/sessions/{number}", "camera")


def packed(session_id: int, kind: Kind, epoch: int = 1) -> bytes:
    """Return a packet of a frame that nobody has sent."""
    part = EncodedPart(media_type="image/jpeg", buffer=0)
    header = Header(session_id=session_id, epoch=epoch, sequence=999, timestamp=1.0, origin=1, payload=part, kind=kind)
    return b"".join(packet.encode(msgspec.structs.replace(header, handler_id=0, port=0), [b"x"]))


def hop_headers(system: Secured, holder: str) -> dict[str, str]:
    """Return what *holder* sends with a packet."""
    return {"Authorization": f"Bearer {system.tokens[holder]}", "Content-Type": MEDIA_TYPE}


def test_a_client_sees_and_ends_its_own_sessions_alone(system: Secured, camera: FaceClient) -> None:
    """Numbers of sessions can be guessed; what they lead to is there for their owner and for operators."""
    assert camera.session is not None
    number = camera.session.session_id
    calls = [("GET", ""), ("GET", "/events"), ("GET", "/frames"), ("GET", "/frames/0"), ("POST", "/stop")]
    calls += [("POST", "/start"), ("POST", "/reallocate"), ("DELETE", "")]
    for method, rest in calls:
        answer = system.call(method, f"{system.url}/sessions/{number}{rest}", "door")
        assert answer.status_code == 404 and answer.json()["type"] == "/problems/unknown-session", (method, rest)
    for holder, seen in (("camera", [number]), ("door", []), ("admin", [number])):
        sessions = system.call("GET", f"{system.url}/sessions", holder).json()["sessions"]
        assert [session["session_id"] for session in sessions] == seen
    assert system.call("GET", f"{system.url}/sessions/{number}", "camera").json()["state"] == "running"
    base = f"{system.daemons['edge'].data_url}/sessions/{number}"
    assert system.call("GET", f"{base}/{'A' * 32}/results/0", "door").status_code == 404  # 96 bits to guess


def test_the_data_port_asks_for_roles(system: Secured, camera: FaceClient) -> None:
    assert camera.session is not None
    parts = {"session": str(camera.session.session_id), "handler": "0", "port": "0", "sequence": "0"}
    parts["key"] = urlsplit(camera.session.session_url).path.split("/")[3]
    for call, roles in ACCESS["data port"].items():
        method, rule = call.split(" ", 1)
        path = re.sub("<([a-z]+)>", lambda found: parts[found[1]], rule)
        for holder, (role, _) in HOLDERS.items():
            if path == "/" or (roles is OPEN and "video" in path):
                continue  # at a port of its own; an endless answer
            status = head(system.daemons["edge"].data_url + path, method, system.tokens[holder], system.ca)
            assert (status == 403) is (roles is not OPEN and role not in roles), (call, holder)


def head(url: str, method: str, token: str, ca: str) -> int:
    """Return the status of the answer; its body may be endless."""
    headers = {"Authorization": f"Bearer {token}"}
    with requests.request(method, url, headers=headers, verify=ca, stream=True, timeout=20) as answer:
        return answer.status_code


def test_no_answer_shows_a_secret(system: Secured, camera: FaceClient) -> None:
    """All that can be read, and errors of all kinds; the fixture looks at what was answered. What is kept, too."""
    number = session_id(camera)
    own = {"session_id": str(number), "node_id": "1", "sequence": "0", "gallery": "g", "label": "l", "name": "app.js"}
    wrong: list[Any] = [{"token": system.shared, "node_id": system.shared}, []]
    seen = set[int]()
    for daemon in ("coordinator", "collector", "node"):
        url = system.daemons["edge" if daemon == "node" else daemon].url
        for method, rule in (call.split(" ", 1) for call in ACCESS[daemon]):
            path = re.sub(r"<(?:int:)?([a-z_]+)>", lambda found: own[found[1]], rule)
            reads, orders = method == "GET", ("sessions", "cordon", "drain")
            if path == "/live" or (not reads and any(word in path for word in orders)):
                continue
            for token in ("admin", "edge", system.shared, system.shared[:-1], None):
                seen |= {
                    system.call(method, url + path, token, body).status_code for body in ([None] if reads else wrong)
                }
    assert {200, 401, 403, 404, 415, 422} <= seen
    kept = (system.folder / "faceservice.sqlite").read_bytes() + (system.folder / "faceservice.sqlite-wal").read_bytes()
    assert kept and not any(secret.encode() in kept for secret in system.secrets)
    checked = run("--check", str(system.folder / "edge.conf"), environ={"FACESERVICE_SECURITY_TOKEN": system.shared})
    assert system.shared not in checked.stdout + checked.stderr


def test_the_doctor_looks_at_certificates(system: Secured) -> None:
    credential = Credential(system.tokens["admin"], Path(system.ca))
    coordinator = Coordinator(system.url, credential)
    found = list(doctor.examine(coordinator, system.daemons["collector"].url, credential))
    assert not [f for f in found if f.level is doctor.Level.FAULT]
    wrong = f"https://127.0.0.1:{urlsplit(system.url).port}"
    told = list(doctor.examine(Coordinator(wrong, credential), None, credential))
    assert told[0].level is doctor.Level.FAULT and "certificate" in told[0].found


def test_the_page_is_for_operators(system: Secured) -> None:
    refused = requests.post(f"{system.url}/login", json={"token": system.tokens["camera"]}, verify=system.ca, timeout=5)
    assert refused.status_code == 403 and "operators" in refused.json()["detail"]
    with requests.Session() as browser:
        browser.verify, browser.trust_env = system.ca, False
        assert browser.post(f"{system.url}/login", json={"token": system.tokens["admin"]}, timeout=5).status_code == 204
        cookie = next(iter(browser.cookies))
        assert cookie.secure and browser.get(f"{system.url}/nodes", timeout=5).status_code == 200


def test_tokens_change_while_frames_go_on(system: Secured, camera: FaceClient) -> None:
    """Add the new, SIGHUP: both work. Take the old away, SIGHUP: it gets 401. Nodes' own tokens change on the way."""
    with unnoticed(system, camera):
        _rotate(system)
    assert not books(system, camera)["resent"], "a frame has noticed"


def test_a_session_moves_while_frames_go_on(system: Secured, camera: FaceClient) -> None:
    """Nodes learn one after the other who has a part in it now, and refuse nobody who had one a moment ago."""
    with unnoticed(system, camera):
        for node_id in (1, 2):
            body = {"pin": dict.fromkeys(range(1, 5), node_id)}
            moved = system.call("POST", f"{system.url}/sessions/{session_id(camera)}/reallocate", "admin", body)
            assert moved.json()["placement"]["1"] == [node_id]
    for daemon in system.daemons.values():
        assert "refused a packet" not in daemon.log.read_text()


def session_id(camera: FaceClient) -> int:
    assert camera.session is not None
    return camera.session.session_id


@contextlib.contextmanager
def unnoticed(system: Secured, camera: FaceClient) -> Iterator[None]:
    """While something happens, and for some frames after it, frames go on and notice nothing."""
    over, statuses = threading.Event(), list[FrameStatus]()

    def post() -> None:
        while not over.is_set():
            statuses.append(camera.post(PHOTO).status)

    poster = threading.Thread(target=post)
    poster.start()
    try:
        yield
        seen = len(statuses)
        wait_for(lambda: len(statuses) > seen + 5)
    finally:
        over.set()
        poster.join(60)
    assert set(statuses) == {FrameStatus.OK}
    assert not books(system, camera)["dropped"]


def books(system: Secured, camera: FaceClient) -> dict[str, Any]:
    session: dict[str, Any] = system.call("GET", f"{system.url}/sessions/{session_id(camera)}", "admin").json()
    found: dict[str, Any] = session["measured"]["books"]
    return found


def _rotate(system: Secured) -> None:
    changing = ("door", "admin", "edge", "server", "coordinator")
    old = {holder: system.tokens[holder] for holder in changing}
    lines = [re.sub(r"^\[", "[old-", system.lines[holder]) for holder in changing]
    for holder in changing:
        system.renew(holder)
    system.write(*lines)
    system.hang_up()
    for token in (old["door"], system.tokens["door"]):
        assert system.call("GET", f"{system.url}/services", token).status_code == 200
    for name in ("edge", "server", "coordinator"):
        system.write_own(name)
    system.hang_up("edge", "server", "coordinator")
    system.write()
    system.hang_up()
    for holder, token in old.items():
        assert system.call("GET", f"{system.url}/openapi.json", token).status_code == 401, holder
        wait_for(lambda t=token: system.call("GET", f"{system.daemons['edge'].data_url}/x", t).status_code == 401)  # type: ignore[misc]
        assert system.call("GET", f"{system.url}/openapi.json", holder).status_code == 200, holder
    for _ in range(4):  # both workers of the collector
        assert system.call("GET", f"{system.daemons['collector'].url}/openapi.json", old["edge"]).status_code == 401


def test_a_tx_shows_its_token_to_its_target_alone(system: Secured, camera: FaceClient) -> None:
    """A session on node 2 posts its frames to a session on node 1; its token never shows, and may change meanwhile."""
    assert camera.session is not None
    with contextlib.closing(posting(system, 4712, camera.session.session_url)) as post:
        next(post)
        for again in (False, True):
            if again:
                system.renew("relay")
                system.write()
                system.write_own("relay")
                system.hang_up()
            before = books(system, camera)["frames_in"]
            post.send(PHOTO.read_bytes())
            wait_for(lambda n=before: books(system, camera)["frames_in"] > n)  # type: ignore[misc]
    with other_server() as (url, told), contextlib.closing(posting(system, 4713, url)) as post:
        next(post)
        post.send(PHOTO.read_bytes())
        wait_for(lambda: bool(told))
    assert "X-Sequence" in told[0] and "Authorization" not in told[0]


def posting(system: Secured, number: int, url: str) -> Generator[None, bytes, None]:
    """Hold a session on node 2 whose tx posts to *url*; send it the frames."""
    node, data = system.daemons["server"].url, system.daemons["server"].data_url
    handlers = [{"handler_id": 0, "handler_type": 6}, {"handler_id": 1, "handler_type": 0, "params": {"url": url}}]
    plan = {
        "epoch": 1, "accept_from": 1, "local": [0, 1], "results": [{"handler_id": 0}],
        "graph": {"handlers": handlers, "links": [{"source_handler": 0, "target_handler": 1}]},
        "routes": {str(h): [{"node_id": 2, "url": data}] for h in (0, 1)},
        "entry": {"node_id": 2, "url": data, "key": "key", "handler_id": 0},
    }  # fmt: skip
    made = system.call("PUT", f"{node}/sessions/{number}", "coordinator", plan)
    assert made.status_code == 200, made.text
    assert system.call("POST", f"{node}/sessions/{number}/start", "coordinator").status_code == 200
    try:
        while True:
            frame = yield
            headers = {"Authorization": f"Bearer {system.tokens['door']}", "Content-Type": "image/jpeg"}
            where = f"{data}/sessions/{number}/key"
            assert requests.post(where, frame, headers=headers, verify=system.ca, timeout=20).status_code == 200
    finally:
        system.call("DELETE", f"{node}/sessions/{number}", "coordinator")


@contextlib.contextmanager
def other_server() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Yield the URL of an HTTP server, and the headers of what is posted there."""
    told: list[dict[str, str]] = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(dict(self.headers))
            self.send_error(400)

    with ThreadingHTTPServer(("127.0.0.1", 0), Take) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/", told
        server.shutdown()


def test_streams_end_with_their_token(system: Secured, camera: FaceClient) -> None:
    """Results and the dashboard's feed, by token and by cookie; those of others go on."""
    session = system.call("GET", f"{system.url}/sessions", "admin").json()["sessions"][0]
    cookie = requests.post(f"{system.url}/login", json={"token": system.tokens["admin"]}, verify=system.ca, timeout=5)
    door, admin, other = ({"Authorization": f"Bearer {system.tokens[n]}"} for n in ("door", "admin", "camera"))
    ending = [
        stream(system, session["results_url"], door),
        stream(system, session["results_url"], door | {"Accept": "text/event-stream"}),
        stream(system, f"{system.url}/live", admin),
        stream(system, f"{system.url}/live", {"Cookie": cookie.headers["Set-Cookie"].partition(";")[0]}),
    ]
    going_on = stream(system, session["results_url"], other)
    camera.post(PHOTO)
    assert all(next(lines) is not None for lines in [*ending, going_on]), "all of them are open"
    for holder in ("door", "admin"):
        system.renew(holder)
    system.write()
    system.hang_up("edge", "coordinator")
    asked = time.monotonic()
    for lines in ending:
        for _ in lines:  # a silent one shows every few seconds that it lives
            assert time.monotonic() - asked < 8
    last = camera.post(PHOTO).sequence
    assert any(f'"sequence":{last},'.encode() in line for line in going_on)
    system.hang_up("server", "collector")


def test_who_waits_for_a_result_waits_no_longer_than_the_token_lasts(system: Secured, camera: FaceClient) -> None:
    """The frame is with a handler that stands still."""
    assert camera.session is not None
    held = system.call("GET", f"{system.daemons['server'].url}/sessions/{session_id(camera)}", "coordinator").json()
    door = {"Authorization": f"Bearer {system.tokens['door']}"}
    frame = door | {"Content-Type": "image/jpeg", "Prefer": "respond-async"}
    os.kill(held["handlers"][0]["pid"], signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(1) as pool, requests.Session() as http:
            http.verify, http.trust_env = system.ca, False
            taken = http.post(camera.session.session_url, PHOTO.read_bytes(), headers=frame, timeout=20)
            assert taken.status_code == 202, taken.text
            where = urljoin(camera.session.session_url, taken.headers["Location"])
            waiting = pool.submit(http.get, where, headers=door | {"Prefer": "wait=60"}, timeout=70)
            time.sleep(0.5)
            assert not waiting.done()
            system.renew("door")
            system.write()
            system.hang_up("edge")
            assert waiting.result(8).status_code == 401
    finally:
        os.kill(held["handlers"][0]["pid"], signal.SIGCONT)
    system.hang_up("coordinator", "server", "collector")


def stream(system: Secured, url: str, headers: dict[str, str]) -> Iterator[bytes]:
    """Yield the lines that come from *url*."""
    with requests.get(url, headers=headers, stream=True, verify=system.ca, timeout=30) as answer:
        assert answer.status_code == 200, answer.text
        yield from answer.iter_lines(chunk_size=1)


def test_a_wrong_file_at_sighup_changes_nothing(system: Secured) -> None:
    (system.folder / "tokens").write_text("[admin]\nsha256 = 12\nrole = king\n")
    system.hang_up()
    for daemon in system.daemons.values():
        assert "nothing is changed" in daemon.log.read_text() and "64 hex digits" in daemon.log.read_text()
    assert system.call("GET", f"{system.url}/nodes", "admin").status_code == 200
    system.write()
    system.hang_up()


def test_a_renewed_certificate_is_shown_after_sighup(system: Secured, camera: FaceClient) -> None:
    def shown() -> list[str]:
        places = [(urlsplit(url).hostname or "", urlsplit(url).port or 0) for url in addresses(system)]
        return [ssl.get_server_certificate(place) for place in places]

    before = shown()
    for host in ("localhost", "127.0.0.1"):
        (system.folder / f"tls/{host}.pem").unlink()
        certificates.make(system.folder / "tls", host)
    system.hang_up()
    wait_for(lambda: not set(before) & set(shown()))  # the gateways hear of it by their pipes
    assert camera.post(PHOTO).status is FrameStatus.OK
