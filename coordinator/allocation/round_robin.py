"""round_robin: the nodes in turn, by node_id; the next session goes on where the last one ended."""

from coordinator.allocation.base import Decision, Placement, Request, Snapshot
from coordinator.allocation.plan import Plan


class RoundRobin:
    """Blind to load and hops; a yardstick. The turn is counted from the placements that run, so nothing is kept."""

    def allocate(self, request: Request, snapshot: Snapshot, current: Placement | None) -> Decision:
        """Place the first variant. Raises Unplaceable, with a reason per node, when a handler fits nowhere."""
        plan = Plan(request, request.variants[0], snapshot, current)
        turn = sum(len(nodes) for p in snapshot.placements.values() for nodes in p.nodes.values())
        for handler in plan.order:
            fits = plan.feasible(handler)
            count, start = request.count(handler), turn % len(fits)
            chosen = (fits[start:] + fits[:start])[:count]
            plan.put(handler, chosen, f"turn {turn} of {len(fits)} nodes", lambda _: "not its turn")
            turn += count
        return plan.decision()
