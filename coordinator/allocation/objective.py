"""What the caller wants, as an order of predictions: bounds first, then what to maximise, then what to minimise."""

from coordinator.allocation.base import Predicted
from coordinator.allocation.outcome import Outcome
from wire.messages import Maximize, Minimize, Objective

Rank = tuple[float, ...]  # smaller is better


def rank(objective: Objective, outcome: Outcome) -> Rank:
    """Return the rank of a placement of one variant; ties go to the shorter latency, then to the branches on demand."""
    latency = outcome.latency.total
    fps = outcome.fps if objective.min_fps is not None else None
    wants: list[float] = []
    if objective.maximize is Maximize.THROUGHPUT:
        wants.append(-(outcome.fps or 0.0))
    if objective.minimize is Minimize.COST:
        wants.append(outcome.cost)
    if objective.minimize is Minimize.ENERGY:
        wants.append(outcome.joules)
    return (_excess(objective, latency, fps), *wants, latency, outcome.all_ms)


def preference(objective: Objective, predicted: Predicted) -> Rank:
    """Return the rank of a variant that meets the bounds. No wish, no difference: the service's order decides."""
    order: list[float] = []
    if objective.maximize is Maximize.ACCURACY:
        order.append(-(predicted.accuracy or 0.0))
    if objective.maximize is Maximize.THROUGHPUT:
        order.append(-(predicted.fps or 0.0))
    if objective.minimize is not None:
        figures = {Minimize.COST: predicted.cost_per_1000, Minimize.ENERGY: predicted.joules}
        order += [figures.get(objective.minimize) or 0.0, predicted.latency_ms]
    return tuple(order)


def missed(objective: Objective, predicted: Predicted) -> str | None:
    """Return which bound of *objective* the prediction breaks, or None."""
    latency, fps = predicted.latency_ms, predicted.fps
    if objective.max_latency_ms is not None and latency > objective.max_latency_ms:
        return f"{latency:.0f} ms predicted ({predicted.basis}), above max_latency_ms {objective.max_latency_ms:g}"
    if objective.min_fps is not None and fps is not None and fps < objective.min_fps:
        return f"{fps:.1f} frames/s predicted ({predicted.basis}), below min_fps {objective.min_fps:g}"
    return None


def _excess(objective: Objective, latency: float, fps: float | None) -> float:
    """Return by which share the bounds are broken, 0 when they hold."""
    excess = 0.0
    if objective.max_latency_ms is not None:
        excess += max(0.0, latency / objective.max_latency_ms - 1)
    if objective.min_fps is not None and fps is not None:
        excess += max(0.0, 1 - fps / objective.min_fps)
    return excess
