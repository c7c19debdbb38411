"""A node becomes slow (its handlers are stopped half of the time): the session moves, is well again, and stays."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import cv2
import psutil
import requests

from tests.chance import chance, moment
from tests.conftest import Cluster
from tests.daemons import ROOT, Daemon
from tests.e2e.live_session import LiveSession, wait_for


def handlers(node: Daemon, session: LiveSession) -> list[psutil.Process]:
    held = requests.get(f"{node.url}/sessions/{session.id}", timeout=10)
    pids = [h["pid"] for h in held.json()["handlers"] if h["pid"]] if held.status_code == 200 else []
    return [psutil.Process(pid) for pid in pids if pid in {member.pid for member in node.members()}]


@contextmanager
def slowed(processes: list[psutil.Process], stop_s: float, run_s: float | None = None) -> Iterator[None]:
    """Stop *processes* again and again: for *stop_s*, then they run for *run_s*, or for as long."""
    over = threading.Event()

    def send(signum: int) -> None:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signum)

    def run() -> None:
        while not over.is_set():
            send(signal.SIGSTOP)
            over.wait(stop_s)
            send(signal.SIGCONT)
            over.wait(stop_s if run_s is None else run_s)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        send(signal.SIGCONT)


@contextmanager
def traffic(session: LiveSession) -> Iterator[list[str]]:
    """Post one frame after the other; yields the statuses of all answers."""
    photo = cv2.imread(str(ROOT / "samples/photos/obama2.jpg"))
    assert photo is not None
    data = cv2.imencode(".jpg", cv2.resize(photo, None, fx=0.35, fy=0.35))[1].tobytes()
    over, statuses = threading.Event(), list[str]()

    def run() -> None:
        client = session.attach()
        while not over.is_set():
            statuses.append(client.post(data).json().get("status", "refused"))
            over.wait(0.03)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()


def p95(session: LiveSession) -> float:
    return float(session.look()["measured"]["latency_ms"].get("p95") or 0.0)


def history(session: LiveSession, event: str) -> list[dict[str, Any]]:
    events = requests.get(f"{session.coordinator}/sessions/{session.id}/events", timeout=10).json()["events"]
    return [e["detail"] for e in events if e["event"] == event]


def test_a_session_leaves_a_node_that_became_slow_and_does_not_come_back(cluster: Cluster) -> None:
    """Both nodes are this machine, so the entry stays where it is, and only the handlers move."""
    draw = chance("a slow node")
    victim = draw.choice([1, 2])
    wish = {"variant": "haar", "entry_node": 1, "pin": {n: [victim] for n in (0, 1)}}
    session = LiveSession.create(cluster.url, "face_detection", **wish)
    with traffic(session) as statuses:
        wait_for(lambda: len(statuses) > 90, "frames at the usual pace")
        wait_for(lambda: p95(session) > 0, "a measured latency")
        bound = 1.5 * p95(session) + 100
        asked = {"objective": {"max_latency_ms": bound}, "pin": {0: [1, 2], 1: [1, 2]}, "replicas": {0: 1, 1: 1}}
        answer = requests.post(f"{cluster.url}/sessions/{session.id}/reallocate", json=asked, timeout=30)
        assert answer.status_code == 200, answer.text
        (slow_id,) = answer.json()["placement"]["1"]
        slow, other_id = {1: (cluster.edge, 2), 2: (cluster.server, 1)}[slow_id]
        moment(draw, 1.0)
        with slowed(handlers(slow, session), draw.uniform(0.4, 0.6)):
            wait_for(lambda: session.look()["placement"]["1"] == [other_id], "a move", session.look, patience_s=45)
            wait_for(lambda: 0 < p95(session) <= bound, "the objective to be met again", session.look, patience_s=45)
            moved = [e for e in history(session, "moved") if e["why"].startswith("rebalanced: ")]
    assert len(moved) == 1, moved
    assert "more than max_latency_ms" in moved[0]["why"]
    assert set(statuses) == {"ok"}
    session.close()
