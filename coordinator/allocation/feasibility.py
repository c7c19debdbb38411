"""May this handler run on that node? Used by the algorithms, and again on what they decided."""

from collections.abc import Iterable, Mapping, Sequence

from coordinator.allocation.base import Decision, NodeView, Placement, Request, Snapshot, Unplaceable, Variant
from wire.messages import HandlerSpec


def reason(
    handler: HandlerSpec,
    node: NodeView,
    request: Request,
    snapshot: Snapshot,
    current: Placement | None = None,
    reserved_mib: float = 0.0,
    reserved_gpu: Sequence[float] = (),
) -> str | None:
    """Return why *handler* may not run on *node*, or None when it may.

    reserved_mib, reserved_gpu: what others that come there too take of its memory, and what each takes of a GPU's. A
    handler that runs there already (*current*) may stay on a node that takes no new ones.
    """
    kept = stays(handler.handler_id, node.node_id, current)
    pins = request.pins.get(handler.handler_id, ())
    if pins and node.node_id not in pins:
        return f"handler {handler.handler_id} is pinned to {_nodes(pins)}"
    if node.refuses is not None and not kept:
        return node.refuses
    if handler.handler_type in node.unavailable:
        return f"{_type_name(handler, snapshot)} is not available: {node.unavailable[handler.handler_type]}"
    if handler.handler_type not in node.available:
        return f"{_type_name(handler, snapshot)} is not known there"
    missing = sorted(request.labels - node.labels)
    if missing:
        return f"lacks the label {', '.join(missing)}"
    return (
        None if kept else _memory(handler, node, snapshot, reserved_mib) or _gpu(handler, node, snapshot, reserved_gpu)
    )


def stays(handler_id: int, node_id: int, current: Placement | None) -> bool:
    """Return True when the handler runs on that node already."""
    return current is not None and node_id in current.nodes.get(handler_id, ())


def memory_mib(handler: HandlerSpec, snapshot: Snapshot) -> float:
    """Return what a handler is said to need, 0 when nobody said."""
    view = snapshot.types.get(handler.handler_type)
    return (view.given(handler.params).memory_mib or 0.0) if view else 0.0


def gpu_mib(handler: HandlerSpec, snapshot: Snapshot) -> float | None:
    """Return what a handler is said to need of a GPU's memory, 0 when nobody said; None when it uses none."""
    if not handler.params.get("gpu"):
        return None
    view = snapshot.types.get(handler.handler_type)
    return (view.given(handler.params).gpu_memory_mib or 0.0) if view else 0.0


def gpu_short(wants: Iterable[float], gpus: Iterable[float]) -> float:
    """Return the MiB of *wants* that find no place on *gpus* (MiB free), each on one GPU: the largest first, each to
    the GPU that it fills most (best fit decreasing).
    """
    left, short = list(gpus), 0.0
    for want in sorted(wants, reverse=True):
        rooms = [room for room in left if room >= want]
        if rooms:
            left[left.index(min(rooms))] -= want
        else:
            short += want
    return short


def fits(
    variant: Variant,
    request: Request,
    snapshot: Snapshot,
    current: Placement | None,
    handler_id: int,
    reserved: Mapping[int, float] | None = None,
    gpus: Mapping[int, Sequence[float]] | None = None,
) -> list[int]:
    """Return the nodes that may run the handler, by node_id. Raises Unplaceable when they are too few.

    reserved, gpus: node -> MiB that others take of its memory, and each of them of a GPU's.
    """
    handler = variant.topology.handlers[handler_id]
    left, taken = reserved or {}, gpus or {}
    reasons = {
        n: reason(handler, node, request, snapshot, current, left.get(n, 0.0), taken.get(n, ()))
        for n, node in sorted(snapshot.nodes.items())
    }
    found = [n for n, why in reasons.items() if why is None]
    wanted = request.count(handler_id)
    if len(found) < wanted:
        refused = {n: why or "can run one of them" for n, why in reasons.items()}
        refused |= {n: "not a known node" for n in request.pins.get(handler_id, ()) if n not in snapshot.nodes}
        raise Unplaceable(_too_few(handler, snapshot, wanted, len(found)), refused, handler_id)
    return found


def check(decision: Decision, request: Request, snapshot: Snapshot, current: Placement | None = None) -> None:
    """Raise Unplaceable when *decision* breaks a rule, whichever algorithm made it."""
    placed = decision.placement.nodes
    handlers = decision.variant.topology.handlers
    if set(placed) != set(handlers):
        raise Unplaceable(f"the placement is for handlers {sorted(placed)}, the graph has {sorted(handlers)}", {})
    reserved: dict[int, float] = {}
    gpus: dict[int, list[float]] = {}
    for handler_id, handler in handlers.items():
        nodes = placed[handler_id]
        _check_count(handler, nodes, request, snapshot)
        for node_id in nodes:
            _check_node(handler, node_id, request, snapshot, current, reserved, gpus)
    _check_entry(decision.placement.entry_node, snapshot, current)


def check_asked(variant: Variant, request: Request, snapshot: Snapshot, current: Placement | None) -> None:
    """Raise Unplaceable when the request asks for what no placement of *variant* can give, on whatever nodes."""
    if request.entry_node is not None:
        _check_entry(request.entry_node, snapshot, current)
    for handler_id, handler in variant.topology.handlers.items():
        if request.count(handler_id) > 1:
            _check_state(handler, snapshot)


def _check_entry(node_id: int, snapshot: Snapshot, current: Placement | None) -> None:
    entry = snapshot.nodes.get(node_id)
    kept = current is not None and current.entry_node == node_id
    if entry is None or (entry.refuses is not None and not kept):
        why = entry.refuses if entry and entry.refuses else "not a known node"
        raise Unplaceable("the entry node takes no sessions", {node_id: why})


def _check_count(handler: HandlerSpec, nodes: tuple[int, ...], request: Request, snapshot: Snapshot) -> None:
    if len(set(nodes)) != len(nodes) or not nodes:
        raise Unplaceable(f"handler {handler.handler_id} is placed on {list(nodes)}", {}, handler.handler_id)
    if len(nodes) < request.count(handler.handler_id):
        raise Unplaceable(
            _too_few(handler, snapshot, request.count(handler.handler_id), len(nodes)), {}, handler.handler_id
        )
    if len(nodes) > 1:
        _check_state(handler, snapshot)


def _check_state(handler: HandlerSpec, snapshot: Snapshot) -> None:
    """Raise Unplaceable for a handler of which there can be one only."""
    view = snapshot.types.get(handler.handler_type)
    if view is not None and view.stateful:
        raise Unplaceable(
            f"handler {handler.handler_id} ({view.name}) is stateful: one node only", {}, handler.handler_id
        )


def _check_node(
    handler: HandlerSpec,
    node_id: int,
    request: Request,
    snapshot: Snapshot,
    current: Placement | None,
    reserved: dict[int, float],
    gpus: dict[int, list[float]],
) -> None:
    node = snapshot.nodes.get(node_id)
    why = "not a known node"
    if node is not None:
        taken = gpus.setdefault(node_id, [])
        why = reason(handler, node, request, snapshot, current, reserved.get(node_id, 0.0), taken) or ""
        if not stays(handler.handler_id, node_id, current):  # what runs there already is in the node's mem_util
            reserved[node_id] = reserved.get(node_id, 0.0) + memory_mib(handler, snapshot)
            taken.append(gpu_mib(handler, snapshot) or 0.0)
    if why:
        raise Unplaceable(
            f"handler {handler.handler_id} may not run on node {node_id}", {node_id: why}, handler.handler_id
        )


def _memory(handler: HandlerSpec, node: NodeView, snapshot: Snapshot, reserved_mib: float) -> str | None:
    needs = memory_mib(handler, snapshot)
    free = node.mem_free - reserved_mib
    if not node.mem_total or needs <= free:
        return None
    return f"needs {needs:.0f} MiB, {max(free, 0):.0f} MiB are free"


def _gpu(handler: HandlerSpec, node: NodeView, snapshot: Snapshot, reserved: Sequence[float]) -> str | None:
    needs = gpu_mib(handler, snapshot)
    if needs is None:
        return None
    if not node.gpus:
        return "has no GPU"
    if gpu_short([*reserved, needs], node.gpus) == 0:
        return None
    others = f" for it and others that want {sum(reserved):.0f}" if any(reserved) else ""
    return f"needs {needs:.0f} MiB of a GPU, {max(node.gpus):.0f} are free{others}"


def _too_few(handler: HandlerSpec, snapshot: Snapshot, wanted: int, found: int) -> str:
    name = f"handler {handler.handler_id} ({_type_name(handler, snapshot)})"
    return f"no node can run {name}" if wanted == 1 else f"{name} wants {wanted} nodes, {found} can run it"


def _type_name(handler: HandlerSpec, snapshot: Snapshot) -> str:
    view = snapshot.types.get(handler.handler_type)
    return view.name if view else f"handler type {handler.handler_type}"


def _nodes(nodes: tuple[int, ...]) -> str:
    return ("node " if len(nodes) == 1 else "nodes ") + ", ".join(str(n) for n in nodes)
