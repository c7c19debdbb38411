"""A handler on two nodes: the replica that is slow gets fewer frames, and results come in order all the same."""

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import cv2
import psutil
import pytest
import requests

from tests.conftest import Cluster
from tests.daemons import ROOT, Daemon
from tests.e2e.live_session import LiveSession, opened

DETECT, DECODE = 1, 0
FRAMES, CLIENTS = 120, 6
PERIOD_S = 0.2  # stopped for half of it


@pytest.fixture
def session(shared_cluster: Cluster) -> Iterator[LiveSession]:
    """decode on node 1, detect on both, draw and encode on node 2."""
    pin = {DECODE: 1, DETECT: [1, 2], 2: 2, 3: 2}
    yield from opened(shared_cluster.url, "face_detection", variant="haar", pin=pin, entry_node=1)


@pytest.fixture(scope="module")
def photo() -> bytes:
    picture = cv2.imread(str(ROOT / "samples/photos/obama2.jpg"))
    assert picture is not None
    return cv2.imencode(".jpg", cv2.resize(picture, (320, 240)))[1].tobytes()


@contextmanager
def halved(node: Daemon, session: LiveSession) -> Iterator[None]:
    """Stop the node's detector for half of the time."""
    held = requests.get(f"{node.url}/sessions/{session.id}", timeout=10).json()
    process = psutil.Process(next(h["pid"] for h in held["handlers"] if h["handler_id"] == DETECT))
    over = threading.Event()

    def halve() -> None:
        while not over.is_set():
            process.send_signal(signal.SIGSTOP)
            over.wait(PERIOD_S / 2)
            process.send_signal(signal.SIGCONT)
            over.wait(PERIOD_S / 2)

    thread = threading.Thread(target=halve)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("slow", [1, 2])
def test_the_other_replica_takes_most_frames(
    shared_cluster: Cluster, session: LiveSession, photo: bytes, slow: int
) -> None:
    """slow: the replica beside the sender, or the one on another node."""
    node = {1: shared_cluster.edge, 2: shared_cluster.server}[slow]

    def post(_: int) -> int:
        answer = session.attach().post(photo).json()
        assert answer["status"] == "ok", answer
        return next(int(span["node_id"]) for span in answer["trace"] if span["handler_id"] == DETECT)

    with ThreadPoolExecutor(CLIENTS) as clients:
        both = Counter(clients.map(post, range(40)))
        assert min(both[1], both[2]) >= 8, f"without trouble both work: {both}"
        with halved(node, session):
            share = Counter(clients.map(post, range(FRAMES)))
    assert share[slow] < 0.45 * FRAMES, share
    assert share[slow] > 0, "it is slow, not gone"
    sequences = [result["sequence"] for result in session.results(40 + FRAMES)]
    assert sequences == list(range(40 + FRAMES))
