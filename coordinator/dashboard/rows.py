"""What the dashboard shows of nodes and sessions: small rows, and the difference between two moments. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from coordinator.accounts import total
from coordinator.records import NodeRecord, SessionRecord
from coordinator.registry import NodeState
from coordinator.sessions import HELD
from wire.messages import Heartbeat, NodeSession, Objective
from wire.resources import NodeFile


class GpuRow(Struct, frozen=True, kw_only=True):
    """A GPU at a moment."""

    name: str
    util: int | None = None  # %
    mem: int | None = None  # % of its memory


class NodeRow(Struct, frozen=True, kw_only=True):
    """A node at a moment."""

    id: int
    name: str
    state: str
    zone: str = ""
    cpu: int | None = None  # %, rounded, so that noise alone sends nothing
    mem: int | None = None  # %
    cpus: int | None = None
    mem_gb: float | None = None
    gpus: list[GpuRow] = []
    sessions: int = 0  # that have a handler there
    missing: int = 0  # handler types that cannot run there


class SessionRow(Struct, frozen=True, kw_only=True):
    """A session at a moment."""

    id: int
    service: str
    variant: str
    state: str
    epoch: int
    nodes: list[int]
    fps: float | None = None
    p50: float | None = None  # ms
    p95: float | None = None
    frames_in: int = 0
    delivered: int = 0
    dropped: int = 0
    in_flight: int = 0
    kept: bool | None = None  # its objective's promises hold; None: it made none, or nothing was measured
    reason: str | None = None


class Rows(Struct, frozen=True):
    """Everything that the page lists, by id."""

    nodes: Mapping[int, NodeRow] = {}
    sessions: Mapping[int, SessionRow] = {}


class Change(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a page that shows the old rows must do to show the new ones."""

    nodes: list[NodeRow] = []
    sessions: list[SessionRow] = []
    gone_nodes: list[int] = []
    gone_sessions: list[int] = []

    def __bool__(self) -> bool:
        return bool(self.nodes or self.sessions or self.gone_nodes or self.gone_sessions)


def change(old: Rows, new: Rows) -> Change:
    """Return what differs."""
    return Change(
        nodes=[row for i, row in new.nodes.items() if old.nodes.get(i) != row],
        sessions=[row for i, row in new.sessions.items() if old.sessions.get(i) != row],
        gone_nodes=[i for i in old.nodes if i not in new.nodes],
        gone_sessions=[i for i in old.sessions if i not in new.sessions],
    )


def rows(
    nodes: Iterable[tuple[NodeRecord, NodeState]], files: Iterable[NodeFile], sessions: Iterable[SessionRecord]
) -> Rows:
    """Return the rows of heard *nodes*, of those that only *files* name, and of *sessions*."""
    heard, held = list(nodes), list(sessions)
    used: dict[int, int] = {}
    for session in held:
        for node_id in session.plan.used():
            used[node_id] = used.get(node_id, 0) + 1
    alive = {record.node_id: _parts(record.heartbeat) for record, state in heard if state is not NodeState.DOWN}
    shown = {f.node_id: NodeRow(id=f.node_id, name=f.node_name, state=NodeState.DOWN) for f in files}
    shown |= {record.node_id: _node(record, state, used.get(record.node_id, 0)) for record, state in heard}
    return Rows(dict(sorted(shown.items())), {s.session_id: _session(s, alive) for s in held})


def _parts(beat: Heartbeat) -> dict[int, NodeSession]:
    return {part.session_id: part for part in beat.sessions}


def _node(record: NodeRecord, state: NodeState, sessions: int) -> NodeRow:
    beat = record.heartbeat
    up = state is not NodeState.DOWN
    return NodeRow(
        id=record.node_id,
        name=beat.node_name,
        state=state,
        zone=beat.zone,
        cpu=round(beat.load.cpu_util) if up else None,
        mem=round(beat.load.mem_util) if up else None,
        cpus=beat.hardware.cpus,
        mem_gb=round(beat.hardware.mem_total / 1024, 1),
        gpus=_gpus(beat, up),
        sessions=sessions,
        missing=sum(not h.available for h in beat.handlers),
    )


def _gpus(beat: Heartbeat, up: bool) -> list[GpuRow]:
    loads = {load.gpu_id: load for load in beat.load.gpus} if up else {}
    return [
        GpuRow(name=gpu.name, util=round(load.util), mem=round(load.mem_util))
        if (load := loads.get(gpu.gpu_id)) is not None
        else GpuRow(name=gpu.name)
        for gpu in beat.hardware.gpus
    ]


def _session(record: SessionRecord, alive: Mapping[int, Mapping[int, NodeSession]]) -> SessionRow:
    part = alive.get(record.plan.entry_node, {}).get(record.session_id)
    entry = part if part is not None and part.epoch == record.epoch and record.state in HELD else None
    books = total(record.plan.past_books, entry.books if entry else None)
    figures: dict[str, Any] = {}
    if books is not None:
        figures = {"frames_in": books.frames_in, "delivered": books.delivered, "in_flight": books.in_flight}
        figures["dropped"] = sum(books.dropped.values())
    if entry is not None:
        latency = entry.latency_ms
        figures |= {"fps": _short(entry.fps), "p50": _short(latency.get("p50")), "p95": _short(latency.get("p95"))}
        figures["kept"] = kept(record.request.objective, entry)
    return SessionRow(
        id=record.session_id,
        service=record.service,
        variant=record.variant,
        state=record.state,
        epoch=record.epoch,
        nodes=sorted(record.plan.used()),
        reason=record.reason,
        **figures,
    )


def kept(objective: Objective | None, entry: NodeSession) -> bool | None:
    """Return whether the latency and rate that were asked for hold now; None where there is nothing to say."""
    if objective is None:
        return None
    held = []
    if objective.max_latency_ms is not None and "p95" in entry.latency_ms:
        held.append(entry.latency_ms["p95"] <= objective.max_latency_ms)
    if objective.min_fps is not None and entry.fps:
        held.append(entry.fps >= objective.min_fps)
    return all(held) if held else None


def _short(value: float | None) -> float | None:
    """Return *value* with three figures: more is noise, and would be sent each second."""
    return None if value is None else float(f"{value:.3g}")
