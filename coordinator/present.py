"""The JSON of the coordinator's answers, from its records. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from coordinator.accounts import total
from coordinator.allocation.base import LinkView
from coordinator.planner import session_url
from coordinator.records import NodeRecord, Planned, SessionRecord
from coordinator.registry import NodeState
from coordinator.sessions import HELD
from coordinator.words import summary
from wire.messages import Heartbeat, NodeSession
from wire.resources import HandlerTypeSpec, NodeFile, Service

Links = Mapping[tuple[int, int], LinkView]  # (from, to) node -> what sending was measured to cost


def session(record: SessionRecord, alive: Mapping[int, Heartbeat], links: Links | None = None) -> dict[str, Any]:
    """Return GET /sessions/<id>: what was asked, where it runs, what was predicted and what nodes measure."""
    url = session_url(record)
    head = {
        "session_id": record.session_id,
        "session_url": url,
        "results_url": f"{url}/results",
        "video_url": f"{url}/video",
        "service": record.service,
        "variant": record.variant,
        "state": record.state,
        "reason": record.reason,
        "epoch": record.epoch,
        "created": record.created,
        "updated": record.updated,
        "delivery": record.request.delivery,
        "window": record.request.window,
        "objective": record.request.objective,
        "pin": record.request.pin,
        "priority": record.request.priority,
    }
    return head | planned(record.plan, record.variant) | {"measured": measured(record, alive, links or {})}


def planned(plan: Planned, variant: str) -> dict[str, Any]:
    """Return the part that a dry run has too."""
    return {
        "algorithm": plan.algorithm,
        "entry_node": plan.entry_node,
        "placement": plan.placement,
        "predicted": plan.predicted,
        "summary": summary(plan, variant),
        "explanation": plan.explanation,
        "passed_over": plan.passed_over,
    }


def measured(record: SessionRecord, alive: Mapping[int, Heartbeat], links: Links) -> dict[str, Any]:
    """Return the books and figures of the entry node, and every handler's, as the last heartbeats have them."""
    held = _held(record, alive) if record.state in HELD else {}
    entry = held.get(record.plan.entry_node)
    handlers = [
        {"node_id": n} | msgspec.structs.asdict(handler)
        for n, part in sorted(held.items())
        for handler in part.handlers
    ]
    return {
        "books": total(record.plan.past_books, entry.books if entry else None) if record.state in HELD else None,
        "latency_ms": entry.latency_ms if entry else {},
        "fps": entry.fps if entry else None,
        "source_ended": bool(entry and entry.source_ended),
        "handlers": sorted(handlers, key=lambda h: (h["handler_id"], h["node_id"])),
        "hops": hops(record.plan, links),
    }


def hops(plan: Planned, links: Links) -> list[dict[str, Any]]:
    """Return the links whose ends are on different nodes, one item per pair of nodes, with what sending costs there."""
    return [
        {"source_handler": k.source_handler, "target_handler": k.target_handler, "from_node": a, "to_node": b}
        | _cost(links.get((a, b)))
        for k in plan.graph.links
        for a in plan.placement[k.source_handler]
        for b in plan.placement[k.target_handler]
        if a != b
    ]


def _cost(link: LinkView | None) -> dict[str, float | None]:
    """Return latency and bandwidth of a link; nothing measured is null, and so is a bandwidth that never mattered."""
    return {"latency_ms": link.latency_ms if link else None, "bytes_per_s": link.bytes_per_s if link else None}


def node(record: NodeRecord, state: NodeState, sessions: Iterable[SessionRecord]) -> dict[str, Any]:
    """Return GET /nodes/<id> of a node that was heard."""
    beat = record.heartbeat
    return {
        "node_id": record.node_id,
        "node_name": beat.node_name,
        "state": state,
        "control_url": beat.control_url,
        "data_url": beat.data_url,
        "boot_id": beat.boot_id,
        "version": beat.version,
        "zone": beat.zone,
        "labels": beat.labels,
        "last_seen": record.last_seen,
        "clock_offset_ms": beat.clock_offset_ms,
        "clock_error_ms": beat.clock_error_ms,
        "hardware": beat.hardware,
        "load": beat.load,
        "handlers": beat.handlers,
        "sessions": [
            {"session_id": s.session_id, "state": s.state, "entry": s.plan.entry_node == record.node_id}
            | {"handlers": [h for h, nodes in s.plan.placement.items() if record.node_id in nodes]}
            for s in sessions
            if record.node_id in s.plan.used()
        ],
    }


def silent_node(file: NodeFile) -> dict[str, Any]:
    """Return GET /nodes/<id> of a node that a file names and nobody heard yet."""
    host = f"[{file.node_addr}]" if ":" in file.node_addr else file.node_addr
    return {
        "node_id": file.node_id,
        "node_name": file.node_name,
        "state": NodeState.DOWN,
        "control_url": f"http://{host}:{file.node_port}",
        "data_url": f"http://{host}:{file.data_port}",
        "boot_id": None,
        "version": None,
        "zone": "",
        "labels": file.labels,
        "last_seen": None,
        "clock_offset_ms": None,
        "clock_error_ms": None,
        "hardware": None,
        "load": None,
        "handlers": [],
        "sessions": [],
    }


def handler_type(spec: HandlerTypeSpec, nodes: Iterable[Heartbeat]) -> dict[str, Any]:
    """Return an item of GET /handlers: the type, and on which nodes it is available or why not."""
    found = {b.node_id: h for b in nodes for h in b.handlers if h.handler_type == spec.handler_type}
    return {
        "handler_type": spec.handler_type,
        "name": spec.name,
        "inputs": spec.inputs,
        "outputs": spec.outputs,
        "params": spec.params,
        "stateful": spec.stateful,
        "profile": spec.profile,
        "nodes": [{"node_id": n, "available": h.available, "reason": h.reason} for n, h in sorted(found.items())],
    }


def service(spec: Service) -> dict[str, Any]:
    """Return an item of GET /services."""
    fields: dict[str, Any] = msgspec.structs.asdict(spec)
    return fields


def _held(record: SessionRecord, alive: Mapping[int, Heartbeat]) -> dict[int, NodeSession]:
    """Return what the nodes of the session say of it."""
    return {
        n: part
        for n in record.plan.used() & alive.keys()
        for part in alive[n].sessions
        if part.session_id == record.session_id and part.epoch == record.epoch
    }
