"""A node stands still for longer than the heartbeat's time-out, then goes on: what it held is elsewhere (G6)."""

import os
import signal
from contextlib import closing

import cv2
import psutil
import requests

from tests.conftest import Cluster
from tests.daemons import ROOT
from tests.e2e.live_session import LiveSession, wait_for

FRAMES = 5


def test_a_node_that_was_frozen_processes_nothing_any_more_and_ends_its_handlers(cluster: Cluster) -> None:
    photo = cv2.imread(str(ROOT / "samples/photos/obama2.jpg"))
    assert photo is not None
    data = cv2.imencode(".jpg", cv2.resize(photo, None, fx=0.35, fy=0.35))[1].tobytes()
    wish = {"variant": "haar", "entry_node": 2, "pin": {h: 1 for h in range(4)}}
    with closing(LiveSession.create(cluster.url, "face_detection", **wish)) as session:
        free = {"pin": {h: [1, 2] for h in range(4)}, "replicas": dict.fromkeys(range(4), 1)}
        for path, body in (
            ("nodes/2/cordon", {}),
            (f"sessions/{session.id}/reallocate", free),
            ("nodes/2/uncordon", {}),
        ):
            requests.post(f"{cluster.url}/{path}", json=body, timeout=30).raise_for_status()
        before = session.post(data).json()
        assert {t["node_id"] for t in before["trace"]} == {1}
        held = requests.get(f"{cluster.edge.url}/sessions/{session.id}", timeout=10).json()
        handlers = [psutil.Process(h["pid"]) for h in held["handlers"]]
        os.killpg(cluster.edge.process.pid, signal.SIGSTOP)
        try:
            wait_for(lambda: session.look()["epoch"] > 1, "a new epoch", session.look)
            wait_for(lambda: session.look()["state"] == "running", "the session to run elsewhere", session.look)
            epoch = session.look()["epoch"]
            answers = [session.post(data).json() for _ in range(FRAMES)]
        finally:
            os.killpg(cluster.edge.process.pid, signal.SIGCONT)
        answers += [session.post(data).json() for _ in range(FRAMES)]
        part = f"{cluster.edge.url}/sessions/{session.id}"
        wait_for(lambda: requests.get(part, timeout=10).status_code == 404, "the node to end its part", patience_s=30)
        wait_for(lambda: not any(p.is_running() and p.status() != "zombie" for p in handlers), "its handlers to end")
        assert requests.get(f"{cluster.url}/nodes/1", timeout=10).json()["state"] == "up"
        answers += [session.post(data).json() for _ in range(FRAMES)]
        assert {a["status"] for a in answers} == {"ok"}
        assert {a["epoch"] for a in answers} == {epoch}
        assert {t["node_id"] for a in answers for t in a["trace"]} == {2}
        sequences = [a["sequence"] for a in answers]
        assert sequences == sorted(set(sequences))
        books = session.settled_books(len(sequences) + 1)
        assert (books["delivered"], books["in_flight"]) == (books["frames_in"], 0)
        assert session.look()["epoch"] == epoch, "it does not come back of itself"
