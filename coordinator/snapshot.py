"""From what nodes said to what an allocation may look at. Pure: the clock's reading is given."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from coordinator.allocation.base import LinkView, Measured, NodeView, Placement, Snapshot, TypeView, Work, work
from coordinator.records import SessionRecord
from coordinator.sessions import PLACED
from wire.messages import Heartbeat, Load

Times = dict[tuple[Work, int], Measured]

ENOUGH, PAST = 200.0, 50.0  # frames, of heartbeats and of history: a mean of more is worth no more
PAST_SHARE = 0.25  # of what is heard, that history counts at most: a node that has become slow is believed soon
FRESH_S = 10.0  # a sys_info row older than that says nothing about now


class Sampled(Struct, frozen=True, kw_only=True):
    """The latest row of sys_info of a node."""

    timestamp: float
    cpu_util: float
    mem_util: float
    gpu_mem_util: float | None = None


class Known(Struct, frozen=True, kw_only=True):
    """What the telemetry tables have of the last minutes."""

    times: Times = {}
    links: Mapping[tuple[int, int], LinkView] = {}


class NodeStatus(Struct, frozen=True, kw_only=True):
    """A node as the registry sees it. refuses: why it takes no new handlers."""

    heartbeat: Heartbeat
    refuses: str | None = None


def build(
    nodes: Mapping[int, NodeStatus],
    types: Mapping[int, TypeView],
    sessions: Iterable[SessionRecord],
    samples: Mapping[int, Sampled],
    now: float,
    known: Known | None = None,
    usual: Mapping[Work, Measured] | None = None,
) -> Snapshot:
    """Return the snapshot: load from fresh samples, else from the heartbeat; service times as handlers report them and
    as the last minutes' telemetry has them, four to one.
    """
    known = known or Known()
    placed = {s.session_id: s for s in sessions if s.state in PLACED}
    return Snapshot(
        nodes={n: _node(status, samples.get(n), now) for n, status in sorted(nodes.items())},
        types=types,
        times=_blended(known.times, _measured(nodes, placed)),
        usual=usual or {},
        links=known.links,
        placements={i: placement(s) for i, s in sorted(placed.items())},
    )


def placement(session: SessionRecord) -> Placement:
    """Return where *session* runs now."""
    nodes = {h: tuple(n) for h, n in session.plan.placement.items()}
    return Placement(nodes=nodes, entry_node=session.plan.entry_node)


def _node(status: NodeStatus, sample: Sampled | None, now: float) -> NodeView:
    beat = status.heartbeat
    load, gpus_free = _load(beat, sample, now), _gpus_free(beat, sample)
    return NodeView(
        node_id=beat.node_id,
        node_name=beat.node_name,
        refuses=status.refuses,
        zone=beat.zone,
        labels=frozenset(beat.labels),
        cpus=max(1, beat.hardware.cpus),
        mem_total=beat.hardware.mem_total,
        cpu_util=load.cpu_util,
        mem_util=load.mem_util,
        gpu_mem_free=max(gpus_free, default=None),
        gpus_free=gpus_free,
        available=frozenset(h.handler_type for h in beat.handlers if h.available),
        cost_per_hour=beat.cost_per_hour,
        watts_idle=beat.watts_idle,
        watts_busy=beat.watts_busy,
        unavailable={h.handler_type: h.reason or "no reason given" for h in beat.handlers if not h.available},
    )


def _gpus_free(beat: Heartbeat, sample: Sampled | None) -> tuple[float, ...]:
    """Return MiB of each GPU that are free by the latest sample (a mean over GPUs)."""
    used = (sample.gpu_mem_util if sample is not None else None) or 0.0
    return tuple(gpu.mem_total * (1 - used / 100) for gpu in beat.hardware.gpus)


def _load(beat: Heartbeat, sample: Sampled | None, now: float) -> Load:
    if sample is None or now - sample.timestamp > FRESH_S:
        return beat.load
    return Load(cpu_util=sample.cpu_util, mem_util=sample.mem_util)


def _measured(nodes: Mapping[int, NodeStatus], placed: Mapping[int, SessionRecord]) -> Times:
    """Return (work, node) -> ms per frame as heartbeats have it, the mean of the handlers that do the same there."""
    found: dict[tuple[Work, int], list[Measured]] = {}
    for node_id, status in nodes.items():
        for held in status.heartbeat.sessions:
            if held.session_id not in placed:
                continue
            handlers = {h.handler_id: h for h in placed[held.session_id].plan.graph.handlers}
            for handler in held.handlers:
                if handler.service_ms is not None and handler.handler_id in handlers:
                    key = (work(handlers[handler.handler_id]), node_id)
                    found.setdefault(key, []).append(Measured(ms=handler.service_ms, frames=handler.frames))
    return {key: mean(times) for key, times in found.items()}


def _blended(history: Times, heard: Times) -> Times:
    """Return both, each counted as so many frames at most: what is heard now shall not drown, nor drown the rest."""
    found = {key: [_worth(time, PAST)] for key, time in history.items()}
    for key, time in heard.items():
        now = _worth(time, ENOUGH)
        found[key] = [now, *(_worth(past, PAST_SHARE * now.frames) for past in found.get(key, ()))]
    return {key: mean(times) for key, times in found.items()}


def _worth(time: Measured, most: float) -> Measured:
    return Measured(ms=time.ms, frames=min(time.frames, most))


def mean(times: Iterable[Measured]) -> Measured:
    """Return the mean of *times*, weighed by their frames."""
    known = list(times)
    frames = sum(t.frames for t in known)
    total = sum(t.ms * t.frames for t in known)
    return Measured(ms=total / frames if frames else known[0].ms, frames=frames)
