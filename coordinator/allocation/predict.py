"""What a placement will do, by the cost model: an estimate and no promise."""

from collections.abc import Sequence

import msgspec

from coordinator.allocation.base import Placement, Predicted, Request, Snapshot, Variant, work
from coordinator.allocation.cost import always_run, evaluator, model
from coordinator.allocation.outcome import Outcome
from coordinator.allocation.tail import Tail
from wire.messages import HandlerSpec

__all__ = ["always_run", "predict", "predicted", "service_ms"]

BELIEVED = 0.5  # confidence from which on a time counts as measured


def service_ms(handler: HandlerSpec, node_id: int, snapshot: Snapshot) -> tuple[float, bool]:
    """Return the estimated ms per frame on that node, and whether it is a measured one."""
    costs = model(snapshot)
    cost, index = costs.handler(work(handler)), costs.nodes.index[node_id]
    return float(cost.ms[index]), bool(cost.confidence[index] >= BELIEVED)


def predict(variant: Variant, placement: Placement, snapshot: Snapshot, request: Request | None = None) -> Predicted:
    """Return the expected latency, frames/s, accuracy, cost and energy of *placement*, a placement on known nodes."""
    request = request or Request(service="", variants=(variant,))
    index = model(snapshot).nodes.index
    nodes = {h: tuple(index[n] for n in ns) for h, ns in placement.nodes.items()}
    entry = index.get(placement.entry_node, nodes[variant.topology.entry][0])
    costs = evaluator(variant, request, snapshot)
    found = predicted(costs.evaluate(nodes, entry), variant, priced=costs.model.priced)
    if request.within_ms is None or request.rate is None:
        return found
    late = Tail(costs, request.within_ms).late(nodes, entry)
    return msgspec.structs.replace(found, late=round(late, 5))


def predicted(outcome: Outcome, variant: Variant, *, priced: bool) -> Predicted:
    """Return *outcome* as it is told."""
    total, compute, wait, transfer = (round(part, 3) for part in outcome.latency)
    return Predicted(
        latency_ms=total,
        fps=round(outcome.fps, 3) if outcome.fps else None,
        accuracy=variant.accuracy,
        basis=_basis(outcome.confidences),
        compute_ms=compute,
        wait_ms=wait,
        transfer_ms=transfer,
        cost_per_1000=outcome.cost if priced else None,
        joules=round(outcome.joules, 4),
    )


def _basis(confidences: Sequence[float]) -> str:
    believed = [c >= BELIEVED for c in confidences]
    if not any(believed):
        return "mixed" if any(c > 0 for c in confidences) else "prior"
    return "measured" if all(believed) else "mixed"
