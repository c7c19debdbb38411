"""The coordinator's metrics: what they say, and that their names follow Prometheus' conventions."""

import re

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from coordinator.dashboard.rows import GpuRow, NodeRow, Rows, SessionRow
from coordinator.figures import Figures

ORDER = ("node_id", "node_name", "session_id", "service", "state", "outcome", "quantile", "gpu_id")
ROWS = Rows(
    {
        1: NodeRow(id=1, name="edge", state="up", cpu=25, mem=50, gpus=[GpuRow(name="g", util=40, mem=75)]),
        2: NodeRow(id=2, name="gone", state="down"),
    },
    {
        7: SessionRow(
            id=7,
            service="face_recognition",
            variant="hog",
            state="running",
            epoch=1,
            nodes=[1],
            fps=2.5,
            p50=40.0,
            p95=90.0,
            frames_in=10,
            delivered=7,
            dropped=1,
            in_flight=2,
            kept=False,
        )
    },
)


def samples() -> dict[tuple[str, tuple[str, ...]], float]:
    registry = CollectorRegistry()
    registry.register(Figures(lambda: ROWS, lambda: True))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(s.name, tuple(s.labels[n] for n in ORDER if n in s.labels)): s.value for f in families for s in f.samples}


def test_figures_are_in_base_units() -> None:
    found = samples()
    assert found["faceservice_leader", ()] == 1
    assert found["faceservice_nodes", ("up",)] == found["faceservice_nodes", ("down",)] == 1
    assert found["faceservice_node_cpu_ratio", ("1", "edge")] == 0.25
    assert ("faceservice_node_cpu_ratio", ("2", "gone")) not in found
    assert found["faceservice_node_up", ("2", "gone")] == 0
    assert found["faceservice_node_gpu_ratio", ("1", "edge", "0")] == 0.4
    assert found["faceservice_node_gpu_memory_ratio", ("1", "edge", "0")] == 0.75
    frames = {k[1][2]: v for k, v in found.items() if k[0] == "faceservice_session_frames_total"}
    assert frames == {"in": 10, "delivered": 7, "dropped": 1}
    assert found["faceservice_session_in_flight_frames", ("7", "face_recognition")] == 2
    assert found["faceservice_session_latency_seconds", ("7", "face_recognition", "0.95")] == 0.09
    assert found["faceservice_session_objective_met", ("7", "face_recognition")] == 0


def test_names_follow_the_conventions() -> None:
    """Source: Prometheus documentation, "Metric and label naming"."""
    names = {name for name, _ in samples()}
    assert all(re.fullmatch(r"faceservice_[a-z][a-z0-9]*(_[a-z0-9]+)*", name) for name in names)
    assert not [n for n in names if re.search(r"_(ms|milliseconds|percent|mb|minutes)(_|$)", n)]
    assert {n for n in names if n.endswith("_total")} == {"faceservice_session_frames_total"}
