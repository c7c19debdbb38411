"""A node's metrics: histograms like the library's own, series that end with their session, names by convention."""

import shutil
import subprocess
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from node.processes.control import LinkStats, SessionStats
from node.reporting.figures import Backlog, Figures
from node.reporting.tally import LATENCY_S, SEND_S, SERVICE_S, Counts, Tally, buckets
from node.reporting.totals import Totals
from wire.messages import Books, HandlerStatus, NodeSession, Running

ORDER = ("session_id", "handler_id", "handler_type", "handler", "target_node_id", "reason", "le")
Samples = dict[tuple[str, tuple[str, ...]], float]


@given(st.lists(st.floats(0, 60) | st.sampled_from(LATENCY_S), max_size=30))
def test_a_tally_counts_as_the_library_does(seconds: list[float]) -> None:
    """Also on the bounds themselves, which belong below."""
    registry = CollectorRegistry()
    theirs = Histogram("x", "y", buckets=LATENCY_S, registry=registry)
    ours = Tally(LATENCY_S)
    for second in seconds:
        theirs.observe(second)
        ours.add(second)
    (family,) = registry.collect()
    expected = [(s.labels["le"], s.value) for s in family.samples if s.name == "x_bucket"]
    assert buckets(LATENCY_S, ours.read()) == expected
    assert ours.read().total_s == pytest.approx(sum(seconds))


def test_what_processes_counted_is_summed_and_a_reading_does_not_change() -> None:
    first, second, both = Tally(SEND_S), Tally(SEND_S), Tally(SEND_S)
    first.add(0.0002)
    second.add(0.0002)
    second.add(99.0)
    reading = first.read()
    for part in (first, second):
        both.merge(part.read())
    assert (sum(both.read().numbers), both.read().numbers[1], both.read().numbers[-1]) == (3, 2, 1)
    first.add(1.0)
    assert sum(reading.numbers) == 1
    assert buckets(SEND_S, Counts())[-1] == ("+Inf", 0.0)


@dataclass
class Node:
    """Agent and reporter as the metrics see them."""

    held: list[NodeSession] = field(default_factory=list)
    stats: list[SessionStats] = field(default_factory=list)
    gateway_restarts: int = 0

    def sessions(self) -> list[NodeSession]:
        return self.held

    def entries(self) -> list[SessionStats]:
        return self.stats

    def backlog(self) -> Backlog:
        return Backlog(reports=3, bytes=1000, dropped=1)


def tally(bounds: tuple[float, ...], *seconds: float) -> Counts:
    made = Tally(bounds)
    for second in seconds:
        made.add(second)
    return made.read()


def busy_node() -> Node:
    handler = HandlerStatus(handler_id=1, state="running", restarts=2, frames=9, queue_size=4)
    session = NodeSession(session_id=7, epoch=1, state=Running.RUNNING, entry=True, handlers=[handler])
    books = Books(frames_in=9, delivered=6, dropped={"no_result": 1}, in_flight=2, resent=1, next_sequence=9)
    latency = tally(LATENCY_S, 0.02, 0.2)
    return Node([session], [SessionStats(session_id=7, books=books, latency=latency)], gateway_restarts=1)


def figures_of(node: Node) -> Figures:
    totals = Totals()
    totals.served(9, tally(SERVICE_S, 0.1, 0.1))
    totals.served(9, tally(SERVICE_S, 0.2))
    totals.sent([LinkStats(2, 2, 500, 1.0, tally(SEND_S, 0.0005, 0.0005))])
    return Figures(node, node, totals, {9: "HogDetectFaceHandler"})


@pytest.fixture
def node() -> Node:
    return busy_node()


@pytest.fixture
def figures(node: Node) -> Figures:
    return figures_of(node)


def text(figures: Figures) -> str:
    registry = CollectorRegistry()
    registry.register(figures)
    return generate_latest(registry).decode()


def samples(figures: Figures) -> Samples:
    families = text_string_to_metric_families(text(figures))
    return {(s.name, tuple(s.labels[n] for n in ORDER if n in s.labels)): s.value for f in families for s in f.samples}


def test_what_gateway_and_handlers_counted_is_shown(figures: Figures) -> None:
    found = samples(figures)
    assert found["faceservice_entry_frames_in_total", ("7",)] == 9
    assert found["faceservice_entry_frames_delivered_total", ("7",)] == 6
    assert found["faceservice_entry_frames_dropped_total", ("7", "no_result")] == 1
    assert found["faceservice_entry_in_flight_frames", ("7",)] == 2
    assert found["faceservice_frame_latency_seconds_bucket", ("7", "0.025")] == 1
    assert found["faceservice_frame_latency_seconds_count", ("7",)] == 2
    assert found["faceservice_frame_latency_seconds_sum", ("7",)] == pytest.approx(0.22)
    assert found["faceservice_handler_queue_frames", ("7", "1")] == 4
    assert found["faceservice_handler_restarts_total", ("7", "1")] == 2
    assert found["faceservice_handler_service_seconds_count", ("9", "HogDetectFaceHandler")] == 3
    assert found["faceservice_hop_send_seconds_count", ("2",)] == 2
    assert found["faceservice_hop_sent_bytes_total", ("2",)] == 500
    assert found["faceservice_gateway_restarts_total", ()] == 1
    assert (found["faceservice_spool_reports", ()], found["faceservice_reports_dropped_total", ()]) == (3, 1)


def test_series_end_with_their_session(figures: Figures, node: Node) -> None:
    """What is counted by type and by node goes on: it must not shrink."""
    node.held, node.stats = [], []
    left = samples(figures)
    assert not [name for name, labels in left if "7" in labels]
    assert left["faceservice_handler_service_seconds_count", ("9", "HogDetectFaceHandler")] == 3


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here (apt-get install prometheus)")
def test_promtool_finds_no_fault(figures: Figures) -> None:
    check(text(figures))


def check(metrics: str) -> None:
    """Raise when promtool finds a name or a unit against the conventions."""
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=metrics, capture_output=True, text=True, timeout=60, check=False
    )
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "faceservice" in line]
    assert ours == []
