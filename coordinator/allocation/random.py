"""random: any node that can, by the request's seed."""

from random import Random

from coordinator.allocation.base import Decision, Placement, Request, Snapshot
from coordinator.allocation.plan import Plan


class RandomNodes:
    """The yardstick that every other algorithm must beat. The same seed gives the same placement."""

    def allocate(self, request: Request, snapshot: Snapshot, current: Placement | None) -> Decision:
        """Place the first variant. Raises Unplaceable, with a reason per node, when a handler fits nowhere."""
        plan = Plan(request, request.variants[0], snapshot, current)
        draw = Random(request.seed)  # noqa: S311 - no secret
        for handler in plan.order:
            fits = plan.feasible(handler)
            chosen = draw.sample(fits, request.count(handler))
            plan.put(handler, chosen, f"drawn from {len(fits)} nodes", lambda _: "not drawn")
        return plan.decision()
