"""What is wrong with a placement, and what to ask for instead. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from coordinator.allocation.base import Placement, Request, Variant
from coordinator.records import Planned, SessionRecord, replace
from wire.messages import HandlerSpec, Heartbeat


def lost_nodes(plan: Planned, alive: Mapping[int, Heartbeat]) -> dict[int, str]:
    """Return the nodes of *plan* that no longer hold their part, with the reason: down, or started anew."""
    lost = {}
    for node_id in sorted(plan.used()):
        if node_id not in alive:
            lost[node_id] = "is down"
        elif alive[node_id].boot_id != plan.nodes[node_id].boot_id:
            lost[node_id] = "was restarted"
    return lost


def given_up(session: SessionRecord, alive: Mapping[int, Heartbeat]) -> dict[tuple[int, int], str]:
    """Return (handler, node) -> reason for the handlers that a node says it cannot keep alive."""
    found = {}
    for node_id in session.plan.used() & alive.keys():
        for held in alive[node_id].sessions:
            if held.session_id == session.session_id and held.epoch == session.epoch:
                for handler in held.handlers:
                    if handler.state == "failed":
                        found[handler.handler_id, node_id] = handler.reason or held.reason or "failed"
    return found


def source_ended(session: SessionRecord, alive: Mapping[int, Heartbeat]) -> bool:
    """Return True when the entry's node says that the source has no more frames and the last one is answered."""
    entry = alive.get(session.plan.entry_node)
    return entry is not None and any(
        held.source_ended and held.books is not None and not held.books.in_flight
        for held in entry.sessions
        if held.session_id == session.session_id and held.epoch == session.epoch
    )


def without(
    request: Request, plan: Planned, lost: Iterable[int], failed: Iterable[tuple[int, int]], nodes: Iterable[int]
) -> Request:
    """Return *request* so that all that runs well stays where it is.

    A handler with replicas left goes on with those. One that lost them all is placed anew: within the caller's pins,
    and never where it failed. nodes: all that are known.
    """
    gone, bad = set(lost), set(failed)
    pins, replicas = dict(request.pins), dict(request.replicas)
    for handler_id, places in plan.placement.items():
        kept = tuple(n for n in places if n not in gone and (handler_id, n) not in bad)
        if kept:
            pins[handler_id], replicas[handler_id] = kept, len(kept)
            continue
        replicas[handler_id] = 1
        barred = {n for h, n in bad if h == handler_id}
        if barred:
            allowed = request.pins.get(handler_id) or tuple(sorted(nodes))
            pins[handler_id] = tuple(n for n in allowed if n not in barred) or (-1,)
    return replace(request, pins=pins, replicas=replicas, entry_node=_entry(request, plan, gone))


def surviving(plan: Planned, lost: Iterable[int], failed: Iterable[tuple[int, int]]) -> Placement:
    """Return the part of *plan* that still stands; entry node -1 when that is lost."""
    gone, bad = set(lost), set(failed)
    nodes = {h: tuple(n for n in ns if n not in gone and (h, n) not in bad) for h, ns in plan.placement.items()}
    return Placement(nodes=nodes, entry_node=-1 if plan.entry_node in gone else plan.entry_node)


def same_there(session: SessionRecord, current: Placement, variants: Sequence[Variant]) -> Placement:
    """Return *current* with those handlers alone that are the same, type and parameters, in each of *variants*: one
    that is another there loads anew, and stays nowhere.
    """
    runs = {h.handler_id: (h.handler_type, h.params) for h in session.plan.graph.handlers}
    specs = [variant.topology.handlers for variant in variants]
    same = {h for h, spec in runs.items() if all(h in s and (s[h].handler_type, s[h].params) == spec for s in specs)}
    return Placement(nodes={h: n for h, n in current.nodes.items() if h in same}, entry_node=current.entry_node)


def _entry(request: Request, plan: Planned, gone: set[int]) -> int | None:
    if plan.entry_node not in gone:
        return plan.entry_node
    return None if request.entry_node in gone else request.entry_node


def started(old: Planned, new: Planned) -> list[HandlerSpec]:
    """Return the handlers of *new* that some node does not run yet: it must load them first."""
    before = {h.handler_id: (h.handler_type, h.params) for h in old.graph.handlers}
    return [
        h
        for h in new.graph.handlers
        if before.get(h.handler_id) != (h.handler_type, h.params)
        or set(new.placement[h.handler_id]) - set(old.placement[h.handler_id])
    ]


def moves(old: Planned, new: Planned) -> list[dict[str, object]]:
    """Return what differs: {handler_id, from, to} per handler that moved, {entry: true, from, to} for the entry."""
    changed: list[dict[str, object]] = [
        {"handler_id": h, "from": old.placement[h], "to": new.placement[h]}
        for h in old.placement
        if h in new.placement and sorted(old.placement[h]) != sorted(new.placement[h])
    ]
    if old.entry_node != new.entry_node:
        changed.append({"entry": True, "from": [old.entry_node], "to": [new.entry_node]})
    return changed
