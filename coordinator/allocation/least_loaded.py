"""least_loaded: each handler, in graph order, to the node that is least loaded then."""

from coordinator.allocation.base import Decision, Placement, Request, Snapshot
from coordinator.allocation.plan import Plan


class LeastLoaded:
    """Greedy, hence not optimal; O(handlers x nodes)."""

    def allocate(self, request: Request, snapshot: Snapshot, current: Placement | None) -> Decision:
        """Place the first variant of *request*.

        Of nodes equally loaded (whole %, 0-100) it takes the previous handler's, which saves a hop, then the lowest
        node_id. Raises Unplaceable, with a reason per node, when a handler fits nowhere.
        """
        plan = Plan(request, request.variants[0], snapshot, current)
        for handler in plan.order:
            loads = {n: round(plan.load(n)) for n in plan.feasible(handler)}
            before = plan.previous_node
            chosen = plan.choose(handler, list(loads), lambda n: (loads[n], n != before, n))  # noqa: B023 - used at once
            plan.put(handler, chosen, _why(chosen, loads, before), lambda n: f"load {loads[n]} %")  # noqa: B023
        return plan.decision()


def _why(chosen: tuple[int, ...], loads: dict[int, int], before: int | None) -> str:
    if len(chosen) == len(loads):
        return "the only node that can" if len(chosen) == 1 else "all nodes that can"
    least = loads[chosen[0]]
    ties = [n for n in loads if loads[n] == least]
    if len(chosen) > 1:
        return "least loaded: " + ", ".join(f"node {n} {loads[n]} %" for n in chosen)
    if len(ties) == 1:
        return f"least loaded: {least} %"
    saves = f"where the frames come from (node {before}), saves a hop" if chosen[0] == before else "the lowest node_id"
    return f"load {least} %, as node {', '.join(str(n) for n in ties if n != chosen[0])}; {saves}"
