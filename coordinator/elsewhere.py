"""Where else a running session may go, and as which variant. Pure.

What is tried, in order. For one that could do better: another place where nobody's promise breaks; when its own
objective is broken, such a place for another variant, then one where its bounds are only come nearer to. After a loss
or in a drain the same, and then, since being placed goes before promises, wherever it can run.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from msgspec import Struct

from coordinator.admission import Decide, admit
from coordinator.allocation.base import Decision, Placement, Request, Snapshot, Unplaceable
from coordinator.allocation.decide import BadDecision
from coordinator.allocation.loads import Promise
from coordinator.records import replace
from wire.messages import Maximize, Minimize, Objective


class Alternatives(Struct, frozen=True, kw_only=True):
    """What may be asked for. own: its variant; otherwise: the service's others, None where it named its own."""

    own: Request
    otherwise: Request | None = None

    def in_order(self) -> list[Request]:
        """Return what to ask for, the best first."""
        return [self.own, *([] if self.otherwise is None else [self.otherwise]), soft(self.own)]


def better(
    choose: Decide,
    asked: Alternatives,
    world: Snapshot,
    others: Sequence[Promise],
    priority: int,
    broken_at: Placement | None = None,
) -> Decision:
    """Return the best place that breaks nobody's promise. broken_at: where its own objective is broken, whatever is
    predicted there. That it stays is the answer when nothing else is found. Raises Unplaceable.
    """
    harmless = partial(_harmless, choose, world=world, others=others, priority=priority)
    if broken_at is None:
        return harmless(asked.own)
    stays: list[Decision] = []
    for decision in _found([partial(harmless, wish) for wish in asked.in_order()]):
        if not _same(asked.own, broken_at, decision):
            return decision
        stays.append(decision)
    return stays[0]


def replacement(
    choose: Decide, asked: Alternatives, world: Snapshot, others: Sequence[Promise], priority: int
) -> Decision:
    """Return a place, if there is one at all. Raises Unplaceable, which says why its own variant can run nowhere."""
    wishes = asked.in_order()
    harmless = [partial(_harmless, choose, wish, world, others, priority) for wish in wishes]
    return next(_found([*harmless, *(partial(choose, wish, world) for wish in wishes)]))


def soft(request: Request) -> Request:
    """Return *request* without its bounds: nearer to them is better than far away."""
    bound = request.objective
    objective = (
        Objective(minimize=Minimize.LATENCY) if bound.min_fps is None else Objective(maximize=Maximize.THROUGHPUT)
    )
    return replace(request, objective=objective, judged_ms=request.within_ms)


def _harmless(choose: Decide, request: Request, world: Snapshot, others: Sequence[Promise], priority: int) -> Decision:
    return admit(choose, request, world, others, priority, advise=False).decision


def _same(own: Request, here: Placement, decision: Decision) -> bool:
    """Return True when *decision* is that all stays what and where it is."""
    there = decision.placement
    moved = there.entry_node != here.entry_node or any(
        set(there.nodes[h]) != set(here.nodes.get(h, ())) for h in there.nodes
    )
    return not moved and decision.variant.variant_name == own.variants[0].variant_name


def _found(attempts: Sequence[Callable[[], Decision]]) -> Iterator[Decision]:
    """Yield what attempts bring, at least one decision. Raises Unplaceable: the last refusal when there is none, and at
    once that of an algorithm that fails.
    """
    refused: Unplaceable | None = None
    any_found = False
    for attempt in attempts:
        try:
            decision = attempt()
        except BadDecision:
            raise
        except Unplaceable as refusal:
            refused = refusal
        else:
            any_found = True
            yield decision
    if not any_found and refused is not None:
        raise refused
