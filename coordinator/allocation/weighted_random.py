"""weighted_random: any node that can, drawn by its free cores: what load balancers with weights do."""

from random import Random

from coordinator.allocation.base import Decision, Placement, Request, Snapshot
from coordinator.allocation.cost import model
from coordinator.allocation.plan import Plan


class WeightedRandom:
    """A yardstick: blind to links and to service times. The same seed gives the same placement. O(handlers x nodes)."""

    def allocate(self, request: Request, snapshot: Snapshot, current: Placement | None) -> Decision:
        """Place the first variant. Raises Unplaceable, with a reason per node, when a handler fits nowhere."""
        plan = Plan(request, request.variants[0], snapshot, current)
        known = model(snapshot)
        draw = Random(request.seed)  # noqa: S311 - no secret
        for handler in plan.order:
            fits = plan.feasible(handler)
            weights = {n: float(known.free_cores[known.nodes.index[n]]) for n in fits}
            chosen = [_drawn(draw, weights) for _ in range(request.count(handler))]
            plan.put(handler, chosen, f"drawn by free cores from {len(fits)} nodes", lambda _: "not drawn")
        return plan.decision()


def _drawn(draw: Random, weights: dict[int, float]) -> int:
    """Return a node, and take it out of *weights*."""
    (node,) = draw.choices(list(weights), list(weights.values()))
    del weights[node]
    return node
