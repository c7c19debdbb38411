"""What a placement will do, from service times: a plain sum, an estimate and no promise.

Latency of one frame alone: service times along the longest path of the handlers that every frame needs, plus the
hops on it. Throughput: of the slowest handler over its replicas, each on a core of its own.
"""

from coordinator.allocation.base import Placement, Predicted, Snapshot, Variant
from wire.messages import HandlerSpec

HOP_MS = 1.0  # prior of a hop between nodes: a JPEG frame over a local network


def service_ms(handler: HandlerSpec, node_id: int, snapshot: Snapshot) -> tuple[float, bool]:
    """Return ms per frame on that node and whether it was measured; 0 when nothing is known."""
    measured = snapshot.measured(handler, node_id)
    if measured is not None:
        return measured, True
    view = snapshot.types.get(handler.handler_type)
    return (view.service_ms or 0.0) if view else 0.0, False


def always_run(variant: Variant) -> list[int]:
    """Return the handlers, in order, that every frame passes: those that lead to an exit not on demand."""
    topology = variant.topology
    needed = {e.handler_id for e in topology.exits if not e.on_demand}
    for handler in reversed(topology.order):
        if any(k.target_handler in needed for k in topology.links_from(handler)):
            needed.add(handler)
    return [h for h in topology.order if h in needed]


def predict(variant: Variant, placement: Placement, snapshot: Snapshot) -> Predicted:
    """Return the expected latency, frames/s and accuracy of *placement*."""
    topology, finish, slowest = variant.topology, dict[int, float](), 0.0
    flags: set[bool] = set()
    for handler_id in always_run(variant):
        nodes = placement.nodes[handler_id]
        times = [service_ms(topology.handlers[handler_id], n, snapshot) for n in nodes]
        flags |= {measured for _, measured in times}
        mean = sum(ms for ms, _ in times) / len(times)
        begin = [finish[k.source_handler] + _hop(placement, snapshot, k.source_handler, handler_id)
                 for k in topology.links_to(handler_id) if k.source_handler in finish]  # fmt: skip
        finish[handler_id] = max(begin, default=0.0) + mean
        slowest = max(slowest, mean / len(times))
    basis = "mixed" if len(flags) > 1 else "measured" if flags == {True} else "prior"
    return Predicted(
        latency_ms=round(max(finish.values(), default=0.0), 3),
        fps=round(1000 / slowest, 3) if slowest else None,
        accuracy=variant.accuracy,
        basis=basis,
    )


def _hop(placement: Placement, snapshot: Snapshot, source: int, target: int) -> float:
    """Return the mean cost in ms of getting from *source* to *target* over all pairs of their nodes."""
    pairs = [(a, b) for a in placement.nodes[source] for b in placement.nodes[target]]
    costs = [
        0.0 if a == b else snapshot.links[a, b].latency_ms if (a, b) in snapshot.links else HOP_MS for a, b in pairs
    ]
    return sum(costs) / len(costs)
