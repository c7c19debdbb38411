"""From a request to a decision that holds: every variant asked for, compared, and checked again whoever decided."""

from collections.abc import Sequence
from math import inf
from typing import Any

import msgspec

from coordinator.allocation import feasibility
from coordinator.allocation.base import (
    Algorithm,
    Decision,
    Explanation,
    Placement,
    Request,
    Snapshot,
    Unplaceable,
    Variant,
)
from coordinator.allocation.explain import explain, on_one_node
from coordinator.allocation.objective import missed, preference
from coordinator.allocation.predict import predict
from coordinator.allocation.race import Race
from wire.messages import Maximize, Objective

__all__ = ["admissible", "decide", "missed"]

replace = msgspec.structs.replace


class OutOfBounds(Unplaceable):
    """Nodes would take the variant, but it would break a bound of the objective."""


class BadDecision(Unplaceable):
    """The algorithm failed, or decided what cannot be; the detail names it."""


def decide(
    algorithm: Algorithm,
    request: Request,
    snapshot: Snapshot,
    current: Placement | None = None,
    *,
    name: str | None = None,
) -> Decision:
    """Return the decision that is feasible and meets the bounds, and of those the one the objective prefers.

    The algorithm is asked for one variant at a time, the preferred one first; without a wish the first that can be
    had is taken. name: what it is called in the configuration. Raises Unplaceable: the preferred variant's, for it is
    what the caller wanted.
    """
    name = name or type(algorithm).__name__
    asked = [replace(request, variants=(variant,)) for variant in request.variants]
    race = Race(algorithm, asked, snapshot, current)
    found: list[Decision] = []
    refused: dict[str, Unplaceable] = {}
    soonest = inf
    while (one := race.next(soonest)) is not None:
        try:
            found.append(_checked(algorithm, name, one, snapshot, current))
        except BadDecision:
            raise  # it is not asked again: what fails or hangs once may do so for every variant
        except Unplaceable as refusal:
            refused[one.variants[0].variant_name] = refusal
        soonest = min((d.predicted.latency_ms for d in found), default=inf)
        if found and _settled(request.objective):
            break
    order = [v.variant_name for v in request.variants]
    if not found:
        raise _refusal({name: refused[name] for name in order if name in refused}, request, snapshot)
    found.sort(key=lambda d: order.index(d.variant.variant_name))
    best = min(found, key=lambda d: preference(request.objective, d.predicted))  # the first of equals
    passed = {name: f"at least {ms:.0f} ms predicted, {soonest:.0f} ms can be had" for name, ms in race.slower.items()}
    passed |= {name: refusal.detail for name, refusal in refused.items()}
    passed |= {d.variant.variant_name: _worse(d, best, request.objective) for d in found if d is not best}
    best = replace(best, passed_over=passed)
    return replace(best, explanation=explain(best, request, snapshot, current)) if request.explain else best


def admissible(variants: Sequence[Variant], objective: Objective) -> tuple[Variant, ...]:
    """Return the variants accurate enough, the preferred one first: as given, or the most accurate when asked."""
    least = objective.min_accuracy
    found = [v for v in variants if least is None or (v.accuracy is not None and v.accuracy >= least)]
    if objective.maximize is Maximize.ACCURACY:
        found.sort(key=lambda v: -(v.accuracy or 0.0))
    return tuple(found)


def _settled(objective: Objective) -> bool:
    """Return True when the first variant that can be had is the best one: they are sorted, or nothing is wished."""
    if objective.minimize is not None:
        return False
    return objective.maximize is not Maximize.THROUGHPUT


def _checked(
    algorithm: Algorithm, name: str, request: Request, snapshot: Snapshot, current: Placement | None
) -> Decision:
    """Return what *algorithm* decides, with our own prediction. Raises Unplaceable; a fault of it is a BadDecision."""
    feasibility.check_asked(request.variants[0], request, snapshot, current)
    try:
        decision = _typed(algorithm.allocate(request, snapshot, current), request)
    except Unplaceable:
        raise
    except Exception as error:  # a plug-in may fail in any way; what runs goes on
        raise BadDecision(f"the algorithm {name} failed: {type(error).__name__}: {error}", {}) from error
    try:
        feasibility.check(decision, request, snapshot, current)
    except Unplaceable as refusal:
        detail = f"the algorithm {name} decided what cannot be: {refusal.detail}"
        raise BadDecision(detail, refusal.reasons, refusal.handler_id) from refusal
    decision = replace(decision, predicted=predict(decision.variant, decision.placement, snapshot, request))
    fault = missed(request.objective, decision.predicted)
    if fault is not None:
        raise OutOfBounds(f"variant {decision.variant.variant_name}: {fault}", {})
    return decision


def _typed(answer: object, request: Request) -> Decision:
    """Return *answer* when it is a decision through and through. Raises TypeError, msgspec.ValidationError."""
    if not isinstance(answer, Decision):
        raise TypeError(f"it returned {type(answer).__name__}")
    return replace(
        answer,
        variant=request.variants[0],  # the one it was asked for, whatever it says
        placement=_converted(answer.placement, Placement),
        explanation=_converted(answer.explanation, tuple[Explanation, ...]),
    )


def _converted(value: Any, kind: Any) -> Any:
    return msgspec.convert(msgspec.to_builtins(value), kind)


def _refusal(refused: dict[str, Unplaceable], request: Request, snapshot: Snapshot) -> Unplaceable:
    """Return the first refusal; for a bound that is broken with what each node alone would give."""
    if not refused:
        return Unplaceable("no variant of the service meets the objective", {})
    first, *others = refused.values()
    if not isinstance(first, OutOfBounds):
        return first
    detail = "; ".join([first.detail, *(o.detail for o in others if isinstance(o, OutOfBounds))])
    return OutOfBounds(detail, on_one_node(request, snapshot))


def _worse(decision: Decision, best: Decision, objective: Objective) -> str:
    """Return why *decision*, which could be had too, was not taken."""
    mine, its = decision.predicted, best.predicted
    if objective.maximize is Maximize.ACCURACY and mine.accuracy != its.accuracy:
        return f"accuracy {mine.accuracy}, {best.variant.variant_name} has {its.accuracy}"
    words = f"{mine.latency_ms:.0f} ms, {mine.fps or 0:.1f} frames/s predicted"
    if mine.cost_per_1000 is not None:
        words += f", {mine.cost_per_1000:.4g} per 1,000 frames"
    return f"{words}, {mine.joules:.3g} J per frame; {best.variant.variant_name} is better at what was asked"
