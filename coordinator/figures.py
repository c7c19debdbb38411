"""The coordinator's Prometheus metrics of nodes and sessions, made of the dashboard's rows. Pure but for the reading.

Names follow the Prometheus conventions: base units (seconds, ratios), `_total` for what only grows.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from coordinator.dashboard.rows import Rows, SessionRow
from coordinator.registry import NodeState
from coordinator.sessions import State

QUANTILES = (("0.5", "p50"), ("0.95", "p95"))


class Figures(Collector):
    """read: returns the rows of now; leads: whether this process controls."""

    def __init__(self, read: Callable[[], Rows], leads: Callable[[], bool]) -> None:
        self._read, self._leads = read, leads

    def describe(self) -> Iterable[Metric]:
        """Return nothing: names are not reserved, so that registering asks for no rows."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics of this moment."""
        rows = self._read()
        yield GaugeMetricFamily(
            "faceservice_leader", "1 when this coordinator controls, 0 when another does", value=float(self._leads())
        )
        yield from _nodes(rows)
        yield from _sessions(rows)


def _nodes(rows: Rows) -> Iterator[Metric]:
    states = Counter(row.state for row in rows.nodes.values())
    yield _counted("faceservice_nodes", "Nodes by state", ((s, states[s]) for s in NodeState))
    labels = ["node_id", "node_name"]
    cpu = GaugeMetricFamily("faceservice_node_cpu_ratio", "CPU in use on the node, 0 to 1", labels=labels)
    memory = GaugeMetricFamily("faceservice_node_memory_ratio", "Memory in use on the node, 0 to 1", labels=labels)
    gpu_labels = [*labels, "gpu_id"]
    gpu = GaugeMetricFamily("faceservice_node_gpu_ratio", "A GPU's use, 0 to 1", labels=gpu_labels)
    gpu_memory = GaugeMetricFamily(
        "faceservice_node_gpu_memory_ratio", "A GPU's memory in use, 0 to 1", labels=gpu_labels
    )
    up = GaugeMetricFamily("faceservice_node_up", "1 unless the node is down", labels=labels)
    for row in rows.nodes.values():
        names = [str(row.id), row.name]
        up.add_metric(names, float(row.state != NodeState.DOWN))
        for metric, percent in ((cpu, row.cpu), (memory, row.mem)):
            if percent is not None:
                metric.add_metric(names, percent / 100)
        for gpu_id, card in enumerate(row.gpus):
            for metric, percent in ((gpu, card.util), (gpu_memory, card.mem)):
                if percent is not None:
                    metric.add_metric([*names, str(gpu_id)], percent / 100)
    yield from (up, cpu, memory, gpu, gpu_memory)


def _sessions(rows: Rows) -> Iterator[Metric]:
    states = Counter(row.state for row in rows.sessions.values())
    held = (s for s in State if s is not State.DELETED)
    yield _counted("faceservice_sessions", "Sessions by state", ((s, states[s]) for s in held))
    labels = ["session_id", "service"]
    frames = CounterMetricFamily(
        "faceservice_session_frames", "Frames by what became of them", labels=[*labels, "outcome"]
    )
    flight = GaugeMetricFamily("faceservice_session_in_flight_frames", "Frames without a result yet", labels=labels)
    rate = GaugeMetricFamily("faceservice_session_frames_per_second", "Results per second", labels=labels)
    latency = GaugeMetricFamily(
        "faceservice_session_latency_seconds",
        "From post to result, over the last results",
        labels=[*labels, "quantile"],
    )
    kept = GaugeMetricFamily(
        "faceservice_session_objective_met", "1 while the session's objective holds", labels=labels
    )
    for row in rows.sessions.values():
        names = [str(row.id), row.service]
        for outcome, count in (("in", row.frames_in), ("delivered", row.delivered), ("dropped", row.dropped)):
            frames.add_metric([*names, outcome], count)
        flight.add_metric(names, row.in_flight)
        _add_measured(row, names, rate, latency, kept)
    yield from (frames, flight, rate, latency, kept)


def _add_measured(
    row: SessionRow, names: list[str], rate: GaugeMetricFamily, latency: GaugeMetricFamily, kept: GaugeMetricFamily
) -> None:
    if row.fps is not None:
        rate.add_metric(names, row.fps)
    for quantile, name in QUANTILES:
        ms = getattr(row, name)
        if ms is not None:
            latency.add_metric([*names, quantile], ms / 1000)
    if row.kept is not None:
        kept.add_metric(names, float(row.kept))


def _counted(name: str, text: str, counts: Iterable[tuple[str, int]]) -> Metric:
    metric = GaugeMetricFamily(name, text, labels=["state"])
    for state, count in counts:
        metric.add_metric([str(state)], count)
    return metric
