"""A node's Prometheus metrics: what its gateway and handlers counted, made of what the agent holds when asked.

Series of a session end with it. Those of handler types and of target nodes stay, since what only grows must not
shrink; there are few of both.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from msgspec import Struct
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from node.processes.control import SessionStats
from node.reporting.tally import LATENCY_S, SEND_S, SERVICE_S, Counts, buckets
from node.reporting.totals import Totals
from wire.messages import NodeSession


class Backlog(Struct, frozen=True, kw_only=True):
    """Reports on their way to the collector."""

    reports: int = 0  # that wait on disk
    bytes: int = 0
    dropped: int = 0  # reports and rows for which there was no room


class Agent(Protocol):
    """What the agent tells."""

    def sessions(self) -> list[NodeSession]:
        """Return all sessions of the node."""
        ...

    def entries(self) -> list[SessionStats]:
        """Return what the gateway last said of each session whose entry is here."""
        ...

    @property
    def gateway_restarts(self) -> int:
        """How often the gateway was started again."""
        ...


class Reports(Protocol):
    """What the reporter tells."""

    def backlog(self) -> Backlog:
        """Return what waits."""
        ...


class Figures(Collector):
    """names: handler_type -> the type's name."""

    def __init__(self, agent: Agent, reports: Reports, totals: Totals, names: Mapping[int, str]) -> None:
        self._agent, self._reports, self._totals, self._names = agent, reports, totals, names

    def describe(self) -> Iterable[Metric]:
        """Return nothing: names are not reserved, so that registering asks for nothing."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics of this moment."""
        sessions = self._agent.sessions()
        yield GaugeMetricFamily("faceservice_node_sessions", "Sessions held by the node", value=float(len(sessions)))
        yield from _handlers(sessions)
        yield from _entries(self._agent.entries())
        yield from self._work()
        yield from self._hops()
        yield CounterMetricFamily(
            "faceservice_gateway_restarts",
            "How often the gateway was started again",
            value=float(self._agent.gateway_restarts),
        )
        yield from _backlog(self._reports.backlog())

    def _work(self) -> Iterator[Metric]:
        service = HistogramMetricFamily(
            "faceservice_handler_service_seconds",
            "Time a handler worked on a frame, by type",
            labels=["handler_type", "handler"],
        )
        for handler_type, counts in self._totals.service().items():
            _add(service, [str(handler_type), self._names.get(handler_type, "")], SERVICE_S, counts)
        yield service

    def _hops(self) -> Iterator[Metric]:
        label = ["target_node_id"]
        send = HistogramMetricFamily(
            "faceservice_hop_send_seconds", "Time from sending a packet to its acknowledgement", labels=label
        )
        size = CounterMetricFamily("faceservice_hop_sent_bytes", "Bytes of packets sent to another node", labels=label)
        for node_id, hop in self._totals.hops().items():
            _add(send, [str(node_id)], SEND_S, hop.seconds)
            size.add_metric([str(node_id)], float(hop.bytes))
        yield from (send, size)


def _handlers(sessions: Sequence[NodeSession]) -> Iterator[Metric]:
    labels = ["session_id", "handler_id"]
    frames = CounterMetricFamily("faceservice_handler_frames", "Frames a handler has executed", labels=labels)
    queue = GaugeMetricFamily("faceservice_handler_queue_frames", "Frames that wait at a handler", labels=labels)
    restarts = CounterMetricFamily(
        "faceservice_handler_restarts", "How often a handler's process was started again", labels=labels
    )
    for session in sessions:
        for handler in session.handlers:
            names = [str(session.session_id), str(handler.handler_id)]
            frames.add_metric(names, float(handler.frames))
            queue.add_metric(names, float(handler.queue_size))
            restarts.add_metric(names, float(handler.restarts))
    yield from (frames, queue, restarts)


def _entries(entries: Sequence[SessionStats]) -> Iterator[Metric]:
    label = ["session_id"]
    taken = CounterMetricFamily("faceservice_entry_frames_in", "Frames taken by the session's entry", labels=label)
    delivered = CounterMetricFamily("faceservice_entry_frames_delivered", "Frames with a result", labels=label)
    dropped = CounterMetricFamily(
        "faceservice_entry_frames_dropped", "Frames that got no result", labels=[*label, "reason"]
    )
    resent = CounterMetricFamily("faceservice_entry_frames_resent", "Sendings beyond the first", labels=label)
    flight = GaugeMetricFamily("faceservice_entry_in_flight_frames", "Frames without a result yet", labels=label)
    latency = HistogramMetricFamily("faceservice_frame_latency_seconds", "From post to result", labels=label)
    for stats in entries:
        names, books = [str(stats.session_id)], stats.books
        taken.add_metric(names, float(books.frames_in))
        delivered.add_metric(names, float(books.delivered))
        resent.add_metric(names, float(books.resent))
        flight.add_metric(names, float(books.in_flight))
        for reason, number in books.dropped.items():
            dropped.add_metric([*names, reason], float(number))
        _add(latency, names, LATENCY_S, stats.latency)
    yield from (taken, delivered, dropped, resent, flight, latency)


def _backlog(backlog: Backlog) -> Iterator[Metric]:
    yield GaugeMetricFamily("faceservice_spool_reports", "Reports that wait on disk", value=float(backlog.reports))
    yield GaugeMetricFamily("faceservice_spool_bytes", "Bytes that wait on disk", value=float(backlog.bytes))
    yield CounterMetricFamily(
        "faceservice_reports_dropped", "Reports and rows that found no room", value=float(backlog.dropped)
    )


def _add(family: HistogramMetricFamily, names: list[str], bounds: Sequence[float], counts: Counts) -> None:
    family.add_metric(names, buckets=buckets(bounds, counts), sum_value=counts.total_s)
