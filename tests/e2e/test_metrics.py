"""`/metrics` of all daemons: what really happened, in names that promtool takes; series of a session end with it."""

import shutil
from collections.abc import Callable

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Cluster
from tests.daemons import ROOT, Daemon
from tests.e2e.live_session import SPLIT, LiveSession, wait_for
from tests.unit.test_node_figures import check

PHOTO = ROOT / "samples/photos/obama2.jpg"
FRAMES = 3


def text(daemon: Daemon) -> str:
    response = requests.get(f"{daemon.url}/metrics", timeout=10)
    assert response.status_code == 200
    return response.text


def total(daemon: Daemon, name: str, **labels: str | int) -> float:
    """Return the sum of the samples with that name and those labels."""
    wanted = {key: str(value) for key, value in labels.items()}.items()
    families = text_string_to_metric_families(text(daemon))
    return sum(s.value for f in families for s in f.samples if s.name == name and wanted <= s.labels.items())


@pytest.mark.parametrize("name", ["coordinator", "collector", "edge"])
@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here (apt-get install prometheus)")
def test_promtool_takes_the_metrics_of_every_daemon(shared_cluster: Cluster, name: str) -> None:
    check(text(getattr(shared_cluster, name)))


def test_frames_are_counted_where_they_were_and_their_session_leaves_nothing(shared_cluster: Cluster) -> None:
    entry, other = shared_cluster.edge, shared_cluster.server
    hops = total(entry, "faceservice_hop_send_seconds_count", target_node_id=2)
    hog = total(entry, "faceservice_handler_service_seconds_count", handler_type=9)
    session = LiveSession.create(shared_cluster.url, "face_recognition", variant="hog", pin=SPLIT)
    try:
        for _ in range(FRAMES):
            assert session.post(PHOTO.read_bytes()).status_code == 200
        counted = until(entry, "faceservice_frame_latency_seconds_count", FRAMES, session_id=session.id)
        assert counted == FRAMES
        assert total(entry, "faceservice_entry_frames_delivered_total", session_id=session.id) == FRAMES
        assert 0 < total(entry, "faceservice_frame_latency_seconds_sum", session_id=session.id) < 60 * FRAMES
        assert until(entry, "faceservice_hop_send_seconds_count", hops + FRAMES, target_node_id=2) >= hops + FRAMES
        assert total(entry, "faceservice_hop_sent_bytes_total", target_node_id=2) > 0
        assert until(entry, "faceservice_handler_service_seconds_count", hog + FRAMES, handler_type=9) == hog + FRAMES
        assert until(other, "faceservice_handler_frames_total", FRAMES, session_id=session.id) == FRAMES
        assert total(other, "faceservice_frame_latency_seconds_count", session_id=session.id) == 0, "no entry there"
    finally:
        session.close()
    for daemon in (entry, other):
        wait_for(lambda d=daemon: f'session_id="{session.id}"' not in text(d), "the session's series to go")  # type: ignore[misc]
    assert total(entry, "faceservice_handler_service_seconds_count", handler_type=9) == hog + FRAMES


def test_the_collector_answers_for_all_its_workers(shared_cluster: Cluster) -> None:
    """Two processes answer in turn; both say the same, which is at least what was there before."""
    collector = shared_cluster.collector
    until(collector, "faceservice_collector_rows_total", 5, table="sys_info")
    stored = [total(collector, "faceservice_collector_reports_total", outcome="stored") for _ in range(12)]
    assert stored == sorted(stored) and stored[0] >= 1
    assert total(collector, "faceservice_collector_commit_seconds_count") >= 1
    assert total(collector, "faceservice_collector_waiting_reports") >= 0
    assert total(collector, "faceservice_request_seconds_count", rule="/reports") >= stored[0]


def test_decisions_and_what_became_of_sessions_are_counted(shared_cluster: Cluster) -> None:
    coordinator, request = shared_cluster.coordinator, {"service": "face_detection", "variant": "haar"}
    decided = total(coordinator, "faceservice_decision_seconds_count", algorithm="layered_dp")
    placed = total(coordinator, "faceservice_session_events_total", event="placed")
    refused = total(coordinator, "faceservice_session_refusals_total", problem="unplaceable")
    session = LiveSession.create(coordinator.url, **request)
    session.close()
    assert total(coordinator, "faceservice_decision_seconds_count", algorithm="layered_dp") > decided
    assert total(coordinator, "faceservice_session_events_total", event="placed") == placed + 1
    nowhere = requests.post(f"{coordinator.url}/sessions", json=request | {"labels": ["no such label"]}, timeout=30)
    assert nowhere.status_code == 507
    assert total(coordinator, "faceservice_session_refusals_total", problem="unplaceable") == refused + 1


def until(daemon: Daemon, name: str, least: float, **labels: str | int) -> float:
    """Return the total as soon as it is at least *least*: children hand their figures over in batches."""
    found: Callable[[], float] = lambda: total(daemon, name, **labels)  # noqa: E731
    wait_for(lambda: found() >= least, f"{name} {labels} to be {least}", found)
    return found()
