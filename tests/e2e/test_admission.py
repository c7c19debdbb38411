"""Admission and bad algorithms, asked of the real coordinator; nodes are played (played_node.py)."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import StartDaemon
from tests.daemons import ROOT, Daemon
from tests.e2e.played_node import PlayedNode

HAAR = json.loads((ROOT / "config/handlers/08_haar_detect_face.json").read_text())
RATE = round(900 / HAAR["profile"]["ms"], 3)
CONFIG = """
[coordinator]
coordinator_port = 0
node_path = {folder}/nodes
control_period = 0.2
algorithms = raises = bad_algorithms:Raises, hangs = bad_algorithms:Hangs, lost = bad_algorithms:Lost
algorithm_timeout = 0.5

[database]
db_engine = sqlite
db_path = {folder}/faceservice.sqlite
"""
OWN = """
from coordinator.allocation.base import Decision, Placement
from coordinator.allocation.layered_dp import LayeredDp

class Raises:
    def allocate(self, request, snapshot, current):
        raise KeyError("node 7")

class Hangs:
    def allocate(self, request, snapshot, current):
        while True:
            pass

class Lost:
    def allocate(self, request, snapshot, current):
        found = LayeredDp().allocate(request, snapshot, current)
        nodes = {h: (4711,) for h in found.placement.nodes}
        placement = Placement(nodes=nodes, entry_node=4711)
        return Decision(variant=found.variant, placement=placement, predicted=found.predicted, explanation=())
"""


@pytest.fixture
def daemon(start_daemon: StartDaemon, tmp_path: Path) -> Daemon:
    (tmp_path / "bad_algorithms.py").write_text(OWN)
    environ = {"PYTHONPATH": str(tmp_path)}
    return start_daemon(CONFIG.format(folder=tmp_path), environ, name="coordinator")


@pytest.fixture
def node(daemon: Daemon) -> Iterator[PlayedNode]:
    """Node 1, with 4 cores."""
    one = PlayedNode(daemon.url, 1).live()
    yield one
    one.die()


def post(daemon: Daemon, path: str, body: Any = None) -> requests.Response:
    return requests.post(daemon.url + path, json=body, timeout=20)


def session_wish(**changes: Any) -> dict[str, Any]:
    """Nearly one core each: as many frames/s as take the Haar detector 90 % of the time, by its profile."""
    return {"service": "face_detection", "variant": "haar", "objective": {"min_fps": RATE}} | changes


def test_a_full_house_takes_no_one_but_of_a_higher_priority(daemon: Daemon, node: PlayedNode) -> None:
    created: list[int] = []
    for _ in range(8):
        response = post(daemon, "/sessions", session_wish())
        if response.status_code != 201:
            break
        created.append(response.json()["session_id"])
    assert len(created) in (3, 4), "4 cores, nearly one each"
    refused = response.json()
    assert (response.status_code, refused["type"]) == (507, "/problems/not-admitted")
    assert set(refused["would_break"][0]["session_ids"]) <= set(created)
    assert refused["would_fit"] == [] or refused["would_fit"][0]["max_fps"] < RATE
    assert "priority" in refused["detail"]
    dry = post(daemon, "/sessions?dry_run=1", session_wish())
    assert (dry.status_code, dry.json()["detail"]) == (507, refused["detail"])
    assert post(daemon, "/sessions", session_wish(objective={})).status_code == 201, "no rate, no refusal"

    would = post(daemon, "/sessions?dry_run=1", session_wish(priority=1)).json()["would_break"]
    assert would
    response = post(daemon, "/sessions", session_wish(priority=1))
    assert response.status_code == 201, response.text
    hurt = [i for b in would for i in b["session_ids"]]
    events = requests.get(f"{daemon.url}/sessions/{hurt[0]}/events", timeout=5).json()["events"]
    (degraded,) = [e["detail"] for e in events if e["event"] == "degraded"]
    assert f"session {response.json()['session_id']} of priority 1 came in" in degraded["why"]


def test_bad_algorithms_are_refused_by_name_and_what_runs_stays(daemon: Daemon, node: PlayedNode) -> None:
    running = post(daemon, "/sessions", {"service": "face_detection"}).json()
    number = running["session_id"]
    for name, why in (("raises", "KeyError: 'node 7'"), ("hangs", "no answer within 0.5 s"), ("lost", "node 4711")):
        for path in ("/sessions", "/sessions?dry_run=1", f"/sessions/{number}/reallocate"):
            body = {"algorithm": name} | ({"service": "face_detection"} if "reallocate" not in path else {})
            response = post(daemon, path, body)
            assert response.status_code == 507, response.text
            assert f"the algorithm {name} " in response.json()["detail"]
            assert why in response.json()["detail"]
    after = requests.get(f"{daemon.url}/sessions/{number}", timeout=5).json()
    assert [after[k] for k in ("state", "epoch", "placement")] == [running[k] for k in ("state", "epoch", "placement")]


def test_a_hanging_algorithm_holds_up_nobody_else(daemon: Daemon, node: PlayedNode) -> None:
    hanging = [
        threading.Thread(target=post, args=(daemon, "/sessions", {"service": "face_detection", "algorithm": "hangs"}))
        for _ in range(3)
    ]
    for thread in hanging:
        thread.start()
    begun, answers = time.monotonic(), 0
    while any(thread.is_alive() for thread in hanging):
        assert post(daemon, "/sessions?dry_run=1", {"service": "face_detection"}).status_code == 200
        answers += 1
    assert answers >= 2, f"{answers} answers in {time.monotonic() - begun:.1f} s"


def test_a_session_that_says_its_rate_gets_replicas_where_frames_would_be_late(
    daemon: Daemon, node: PlayedNode
) -> None:
    """The default by itself: nobody asked for replicas. Without a rate nothing is known of queues."""
    other = PlayedNode(daemon.url, 2).live()
    try:
        bounds = {"max_latency_ms": 3.5 * HAAR["profile"]["ms"], "min_fps": round(500 / HAAR["profile"]["ms"], 3)}
        rated = post(daemon, "/sessions?dry_run=1", session_wish(objective=bounds)).json()
        unrated = post(daemon, "/sessions?dry_run=1", session_wish(objective={})).json()
    finally:
        other.die()
    assert sorted(rated["placement"]["1"]) == [1, 2], rated
    assert len(unrated["placement"]["1"]) == 1
    (why,) = [e["why"] for e in rated["explanation"] if e["handler_id"] == 1]
    assert "2 replicas" in why and "of the frames later than" in why
