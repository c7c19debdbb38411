"""static: every handler where its pin says; nothing is chosen."""

from coordinator.allocation.base import Decision, Placement, Request, Snapshot, Unplaceable
from coordinator.allocation.plan import Plan


class Static:
    """The pins, of the request or of the service file."""

    def allocate(self, request: Request, snapshot: Snapshot, current: Placement | None) -> Decision:
        """Place the first variant. Raises Unplaceable when a handler has no pin or its nodes refuse it."""
        plan = Plan(request, request.variants[0], snapshot, current)
        for handler in plan.order:
            pins = request.pins.get(handler, ())
            if not pins:
                reasons = dict.fromkeys(sorted(snapshot.nodes), "not pinned to it")
                raise Unplaceable(f"static: handler {handler} has no pin", reasons, handler)
            fits = plan.feasible(handler)
            chosen = plan.choose(handler, fits, pins.index)
            plan.put(handler, chosen, "pinned", lambda _: "more pins than replicas")
        return plan.decision()
