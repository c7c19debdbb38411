"""From a request to a decision that holds: variants in order of preference, checked again whoever decided."""

from collections.abc import Sequence

import msgspec

from coordinator.allocation import feasibility
from coordinator.allocation.base import (
    Algorithm,
    Decision,
    Placement,
    Predicted,
    Request,
    Snapshot,
    Unplaceable,
    Variant,
)
from wire.messages import Maximize, Objective


def decide(algorithm: Algorithm, request: Request, snapshot: Snapshot, current: Placement | None = None) -> Decision:
    """Return the first decision that is feasible and meets the objective; the preferred variant is asked first.

    Raises Unplaceable: the preferred variant's, for it is what the caller wanted.
    """
    first: Unplaceable | None = None
    passed: dict[str, str] = {}
    for start, variant in enumerate(request.variants):
        asked = msgspec.structs.replace(request, variants=request.variants[start:])
        try:
            return msgspec.structs.replace(_checked(algorithm, asked, snapshot, current), passed_over=passed)
        except Unplaceable as refusal:
            first = first or refusal
            passed[variant.variant_name] = refusal.detail
    raise first or Unplaceable("no variant of the service meets the objective", {})


def admissible(variants: Sequence[Variant], objective: Objective) -> tuple[Variant, ...]:
    """Return the variants accurate enough, the preferred one first: as given, or the most accurate when asked."""
    least = objective.min_accuracy
    found = [v for v in variants if least is None or (v.accuracy is not None and v.accuracy >= least)]
    if objective.maximize is Maximize.ACCURACY:
        found.sort(key=lambda v: -(v.accuracy or 0.0))
    return tuple(found)


def _checked(algorithm: Algorithm, request: Request, snapshot: Snapshot, current: Placement | None) -> Decision:
    decision = algorithm.allocate(request, snapshot, current)
    feasibility.check(decision, request, snapshot, current)
    fault = missed(request.objective, decision.predicted)
    if fault is not None:
        raise Unplaceable(f"variant {decision.variant.variant_name}: {fault}", {})
    return decision


def missed(objective: Objective, predicted: Predicted) -> str | None:
    """Return which bound of *objective* the prediction breaks, or None."""
    latency, fps = predicted.latency_ms, predicted.fps
    if objective.max_latency_ms is not None and latency > objective.max_latency_ms:
        return f"{latency:.0f} ms predicted ({predicted.basis}), above max_latency_ms {objective.max_latency_ms:g}"
    if objective.min_fps is not None and fps is not None and fps < objective.min_fps:
        return f"{fps:.1f} frames/s predicted ({predicted.basis}), below min_fps {objective.min_fps:g}"
    return None
