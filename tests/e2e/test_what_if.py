"""What-if questions on a running system: python3 -m simulator --from-live, as docs/simulator.md has it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import requests

from simulator import scenario
from simulator.__main__ import main
from tests.conftest import Cluster
from tests.daemons import ROOT
from tests.e2e.live_session import LiveSession, wait_for

PHOTO = (ROOT / "samples" / "photos" / "obama2.jpg").read_bytes()


@pytest.fixture
def session(shared_cluster: Cluster) -> Iterator[LiveSession]:
    """A session whose decoder is pinned to node 1 and that has frames all the time."""
    wants = {"max_latency_ms": 5000.0}
    live = LiveSession.create(shared_cluster.url, "face_detection", variant="yunet", pin={0: 1}, objective=wants)
    ended = threading.Event()

    def post() -> None:
        while not ended.wait(0.1):
            live.post(PHOTO)

    client = threading.Thread(target=post)
    client.start()
    yield live
    ended.set()
    client.join()
    live.close()


def measured(session: LiveSession) -> bool:
    found = session.look()["measured"]
    return bool(found["fps"]) and sum(bool(h["service_ms"]) for h in found["handlers"]) >= 2


def test_a_running_system_is_simulated_as_it_is_and_as_it_might_be(
    shared_cluster: Cluster, session: LiveSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its present, a node that dies, one more, twice the frames; pins and bounds come from the session."""
    wait_for(lambda: measured(session), "frames and service times to be measured", session.look)
    names = [n["node_name"] for n in requests.get(f"{shared_cluster.url}/nodes", timeout=10).json()["nodes"]]
    kept = tmp_path / "live.json"
    asked = ["--from-live", shared_cluster.url, "--dies", names[1], "--add", "2", names[0], "--traffic", "2"]
    assert main([*asked, "--save", str(kept), "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for row in ("live", "dies", "2 more", "traffic x 2"):
        assert row in said
    (clients,) = scenario.load(kept).sessions
    assert clients.objective.max_latency_ms == 5000 and clients.pinned == {0: [1]}
    results = {r["scenario"]: r for r in msgspec.json.decode((tmp_path / "results.json").read_bytes())}
    now, twice = results["live"], results["traffic x 2"]
    assert now["delivered"] > 0 and now["miss_rate"] < 0.5
    assert twice["frames_in"] == pytest.approx(2 * now["frames_in"], rel=0.1)
