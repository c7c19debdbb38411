"""More than the system can do: who is answered is answered in time, the others are told, and neighbours go on.

Rates and latencies are compared with those of the same session in the same run, when it was alone.
"""

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from statistics import median
from urllib.parse import urlsplit

import cv2
import psutil
import pytest

from tests.conftest import Cluster
from tests.daemons import ROOT, Daemon
from tests.e2e.live_session import LiveSession

PIN = {0: 1, 1: 1, 2: 1, 3: 1}  # all on node 1
CLIENTS, PAUSE_S = 24, 0.05
WINDOW = 32  # more than there are clients
SHARE = 0.85  # of what a frame takes without a bound: with one of a half, on a machine whose speed changes
FLOOD_S = 4.0
NEIGHBOUR_FPS, NEIGHBOUR_S = 6, 2.5


@pytest.fixture(scope="module")
def photo() -> bytes:
    picture = cv2.imread(str(ROOT / "samples/photos/obama2.jpg"))
    assert picture is not None
    return cv2.imencode(".jpg", cv2.resize(picture, (320, 240)))[1].tobytes()


@contextmanager
def opened(cluster: Cluster, **request: object) -> Iterator[LiveSession]:
    session = LiveSession.create(cluster.url, "face_detection", variant="haar", pin=PIN, entry_node=1, **request)
    try:
        yield session
    finally:
        session.close()


@contextmanager
def flood(session: LiveSession, photo: bytes, wait_s: float = 30.0) -> Iterator[list[tuple[int, dict[str, object]]]]:
    """Have CLIENTS post as fast as they are answered, PAUSE_S after a refusal; yields (status, body) of all answers."""
    answers: list[tuple[int, dict[str, object]]] = []
    over = threading.Event()

    def post() -> None:
        own = session.attach()
        while not over.is_set():
            answer = own.post(photo, Prefer=f"wait={wait_s:g}")
            answers.append((answer.status_code, answer.json() | {"retry_after": answer.headers.get("Retry-After")}))
            over.wait(0 if answer.ok else PAUSE_S)

    with ThreadPoolExecutor(CLIENTS) as clients:
        posting = [clients.submit(post) for _ in range(CLIENTS)]
        try:
            yield answers
        finally:
            over.set()
    for one in posting:
        one.result()


def rate(session: LiveSession, photo: bytes) -> float:
    """Post NEIGHBOUR_FPS frames a second for a while; returns how many a second were answered with boxes."""
    own, begun, done = session.attach(), time.monotonic(), 0
    for number in range(int(NEIGHBOUR_S * NEIGHBOUR_FPS)):
        time.sleep(max(0.0, begun + number / NEIGHBOUR_FPS - time.monotonic()))
        answer = own.post(photo)
        done += answer.status_code == 200 and bool(answer.json()["boxes"])
    return done / max(NEIGHBOUR_S, time.monotonic() - begun)


def test_what_a_live_session_delivers_comes_in_time(shared_cluster: Cluster, photo: bytes) -> None:
    """The same flood twice: without a bound the frames of all clients wait, with one of half the time fewer do."""
    with opened(shared_cluster, delivery="live", window=WINDOW) as session:
        unbound_ms = median(latencies(flooded(session, photo)))
    wish = {"max_latency_ms": unbound_ms / 2}
    with opened(shared_cluster, delivery="live", window=WINDOW, objective=wish) as session:
        answers = flooded(session, photo)
        dropped = [body for status, body in answers if status == 503]
        taken = latencies(answers)
        assert len(taken) + len(dropped) == len(answers)
        assert len(dropped) > len(taken), "it is no overload"
        assert {body["reason"] for body in dropped} == {"live_newer"}
        settled = median(taken[len(taken) // 2 :])
        assert settled < SHARE * unbound_ms, f"{settled:.0f} ms where it was {unbound_ms:.0f} ms without a bound"
        books = session.settled_books(len(answers))
        assert (books["frames_in"], books["delivered"]) == (len(answers), len(taken))
        assert books["dropped"] == {"live_newer": len(dropped)}


def flooded(session: LiveSession, photo: bytes) -> list[tuple[int, dict[str, object]]]:
    """Flood the session for a while; returns (status, body) of all answers."""
    with flood(session, photo) as answers:
        time.sleep(0.75 * FLOOD_S)
    return answers


def latencies(answers: list[tuple[int, dict[str, object]]]) -> list[float]:
    """Return the latencies of the frames that were delivered, ms."""
    return [float(str(body["latency_ms"])) for status, body in answers if status == 200]


def test_lossless_clients_get_results_or_are_told_when_to_come_again(shared_cluster: Cluster, photo: bytes) -> None:
    with opened(shared_cluster, window=4) as session:
        with flood(session, photo, wait_s=0.2) as answers:
            time.sleep(FLOOD_S / 2)
        statuses = Counter(status for status, _ in answers)
        assert set(statuses) <= {200, 202, 503}
        assert statuses[503] > 0, "it is no overload"
        assert all(body["retry_after"] for status, body in answers if status == 503)
        books = session.settled_books(statuses[200] + statuses[202])
        assert (books["frames_in"], books["dropped"]) == (statuses[200] + statuses[202], {})
        assert books["delivered"] == books["frames_in"]


def test_a_neighbour_keeps_its_rate(shared_cluster: Cluster, photo: bytes) -> None:
    with opened(shared_cluster) as neighbour, opened(shared_cluster, delivery="live") as loud:
        rate(neighbour, photo)
        before = rate(neighbour, photo)
        gateway = gateway_of(shared_cluster.edge)
        with flood(loud, photo) as answers:
            time.sleep(1.0)
            held = gateway.memory_info().rss
            during = rate(neighbour, photo)
            grown = gateway.memory_info().rss - held
        assert len(answers) > 5 * NEIGHBOUR_FPS
        assert during >= 0.9 * before, f"{during:.2f} frames/s of {before:.2f}"
        assert grown < 32 << 20


def gateway_of(node: Daemon) -> psutil.Process:
    """Return the node's gateway: the process that listens where frames come in."""
    port = urlsplit(node.data_url).port
    listening = psutil.CONN_LISTEN
    return next(
        p for p in node.members() for c in p.net_connections("tcp") if c.status == listening and c.laddr.port == port
    )


def test_idle_dripping_and_deaf_connections_hold_nobody_up(shared_cluster: Cluster, photo: bytes) -> None:
    """A thousand that say nothing, a hundred that begin a head, bodies that do not come, readers that do not read."""
    gateway = gateway_of(shared_cluster.edge)
    with opened(shared_cluster) as session, opened(shared_cluster) as other, ExitStack() as stack:
        before = rate(session, photo)
        threads = gateway.num_threads()
        url = urlsplit(other.url)
        head = f"POST {url.path} HTTP/1.1\r\nHost: n\r\nContent-Type: image/jpeg\r\nContent-Length: 50000\r\n\r\n"
        videos = [f"GET {urlsplit(path).path} HTTP/1.1\r\nHost: n\r\n\r\n" for path in readable(session)]
        for text, count in (("", 1000), (head[:20], 100), (head, 8), (videos[0], 20), (videos[1], 20)):
            for _ in range(count):
                sock = stack.enter_context(socket.socket())
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.connect((str(url.hostname), url.port or 80))
                sock.sendall(text.encode())
        rate(session, photo)
        held = gateway.memory_info().rss
        assert rate(session, photo) >= 0.9 * before
        assert gateway.num_threads() < threads + 60, "one for each reader of a stream, none for the others"
        assert gateway.memory_info().rss - held < 32 << 20


def readable(session: LiveSession) -> tuple[str, str]:
    return session.results_url, session.document["video_url"]
