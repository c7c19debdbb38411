"""What the command line shows of a running system: a frame's path, the live view."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Cluster
from tests.daemons import ROOT, clean_environ
from tests.e2e.live_session import SPLIT, LiveSession

PHOTO = (ROOT / "samples" / "photos" / "obama2.jpg").read_bytes()


@pytest.fixture(scope="module")
def session(shared_cluster: Cluster) -> Iterator[LiveSession]:
    """A session over both nodes that has had one frame."""
    live = LiveSession.create(shared_cluster.url, "face_recognition", pin=SPLIT)
    assert live.post(PHOTO).status_code == 200
    yield live
    live.close()


def command(cluster: Cluster, *words: str) -> "subprocess.CompletedProcess[str]":
    environ = clean_environ({"FACESERVICE_URL": cluster.url, "PYTHONPATH": str(ROOT)})
    argv = [sys.executable, "-m", "client", *words]
    return subprocess.run(argv, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)


def path_of(session: LiveSession, complete: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return frame 0's path when what nodes have reported of it is *complete*."""
    url = f"{session.coordinator}/sessions/{session.id}/frames/0"
    until = time.monotonic() + 30
    while time.monotonic() < until:
        response = requests.get(url, timeout=10)
        if response.status_code == 200 and complete(response.json()):
            return dict(response.json())
        time.sleep(0.2)
    raise AssertionError(f"{url}: {response.status_code} {response.text}")


def test_a_frames_path_names_each_handler_on_its_node(shared_cluster: Cluster, session: LiveSession) -> None:
    found = path_of(session, lambda d: len([v for v in d["visits"] if v["send_ms"] is not None]) == 3)
    assert [(v["handler_id"], v["node_id"]) for v in found["visits"]] == [(0, 1), (1, 1), (2, 2)]  # drawing: on demand
    decode, detect, recognize = found["visits"]
    assert decode["bytes_in"] > len(PHOTO)
    assert detect["bytes_in"] == decode["bytes_out"]
    assert recognize["bytes_in"] == detect["bytes_out"]
    assert all(v["execute_ms"] > 0 and v["wait_ms"] >= 0 for v in found["visits"])
    assert found["duration_ms"] >= sum(v["execute_ms"] for v in found["visits"])


def test_trace_draws_the_path_and_writes_a_chrome_file(
    shared_cluster: Cluster, session: LiveSession, tmp_path: Path
) -> None:
    path_of(session, lambda d: len(d["visits"]) == 3)
    file = tmp_path / "trace.json"
    done = command(shared_cluster, "trace", str(session.id), "0", "--chrome", str(file))
    assert done.returncode == 0, done.stderr
    assert "2 recognize" in done.stdout
    assert "█" in done.stdout
    events = json.loads(file.read_text())["traceEvents"]
    assert {e["name"] for e in events if e["ph"] == "X"} >= {"decode", "detect", "recognize", "wait", "send"}
    listed = command(shared_cluster, "trace", str(session.id), "--json")
    assert [f["sequence"] for f in json.loads(listed.stdout)["frames"]] == [0]


def test_a_frame_that_nobody_knows_is_named_with_the_likely_reason(
    shared_cluster: Cluster, session: LiveSession
) -> None:
    for sequence in (12345, 2**70):
        done = command(shared_cluster, "trace", str(session.id), str(sequence))
        assert done.returncode == 1
        assert f"nothing is known of frame {sequence}" in done.stderr
    base = f"{shared_cluster.url}/sessions/{session.id}/frames"
    assert requests.get(f"{base}/0?format=xml", timeout=10).status_code == 400
    assert requests.get(f"{base}?limit=x", timeout=10).status_code == 400
    assert requests.get(f"{shared_cluster.url}/sessions/9999/frames/0", timeout=10).status_code == 404


def test_watch_shows_nodes_and_sessions_once_where_there_is_no_terminal(
    shared_cluster: Cluster, session: LiveSession
) -> None:
    everything = command(shared_cluster, "watch")
    assert everything.returncode == 0, everything.stderr
    assert "face_recognition" in everything.stdout
    assert "server" in everything.stdout
    one = command(shared_cluster, "watch", str(session.id))
    assert "running" in one.stdout
    assert "placed" in one.stdout
    assert command(shared_cluster, "watch", "--json").returncode == 2


def test_doctor_finds_the_system_in_order_and_a_missing_collector(shared_cluster: Cluster) -> None:
    done = command(shared_cluster, "doctor", "--collector", shared_cluster.collector.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "service face_recognition" in done.stdout
    assert "collector" in done.stdout
    away = command(shared_cluster, "doctor", "--collector", "http://127.0.0.1:9", "--json")
    findings = json.loads(away.stdout)["findings"]
    assert [f["level"] for f in findings if f["what"] == "collector"] == ["look"]


def test_doctor_without_a_coordinator_says_how_to_get_one(shared_cluster: Cluster) -> None:
    done = command(shared_cluster, "doctor", "--coordinator", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "start it" in done.stdout
