"""Why a handler is where it is, and what it would cost elsewhere: for people, made only when somebody will read it."""

from collections.abc import Mapping

import msgspec

from coordinator.allocation import feasibility
from coordinator.allocation.base import Decision, Explanation, NodeView, Placement, Request, Snapshot, Unplaceable
from coordinator.allocation.cost import evaluator
from coordinator.allocation.outcome import Outcome
from coordinator.allocation.predict import BELIEVED

SHOWN = 20  # other nodes per handler, the next best ones first
ALONE_SHOWN = 50  # nodes of which it is said what they would give alone

replace = msgspec.structs.replace


def explain(
    decision: Decision, request: Request, snapshot: Snapshot, current: Placement | None = None
) -> tuple[Explanation, ...]:
    """Return the decision's explanation with the predicted parts of the chosen nodes and of the others."""
    return tuple(_Teller(decision, request, snapshot, current).told(e) for e in decision.explanation)


def on_one_node(request: Request, snapshot: Snapshot) -> dict[int, str]:
    """Return for each node what the preferred variant would give there alone, or why it cannot be had there."""
    variant = request.variants[0]
    costs = evaluator(variant, request, snapshot)
    said = {}
    for index, view in enumerate(costs.model.nodes.views[:ALONE_SHOWN]):
        why = _first_refusal(variant.topology.handlers, view, request, snapshot)
        if why is None:
            entry = costs.model.nodes.index.get(view.node_id if request.entry_node is None else request.entry_node)
            alone = costs.evaluate(dict.fromkeys(costs.order, (index,)), index if entry is None else entry)
            why = f"all of {variant.variant_name} there: {_figures(alone)}"
        said[view.node_id] = why
    return said


class _Teller:
    def __init__(
        self, decision: Decision, request: Request, snapshot: Snapshot, current: Placement | None = None
    ) -> None:
        self._decision, self._request, self._snapshot, self._current = decision, request, snapshot, current
        self._evaluator = evaluator(decision.variant, request, snapshot)
        index = self._evaluator.model.nodes.index
        self._nodes = {h: tuple(index[n] for n in ns) for h, ns in decision.placement.nodes.items()}
        self._entry = index[decision.placement.entry_node]
        self._chosen = self._evaluator.evaluate(self._nodes, self._entry)

    def told(self, about: Explanation) -> Explanation:
        """Return *about* with parts, and of the other nodes the next best with theirs."""
        why = f"{about.why}: " if about.why else ""
        if about.handler_id not in self._evaluator.always:
            why = f"runs only for frames whose picture is wanted; {why}"
        return replace(about, why=why + self._parts(about.handler_id, self._nodes), others=self._others(about))

    def _others(self, about: Explanation) -> dict[int, str]:
        ids = self._evaluator.model.nodes.ids
        costs = self._evaluator.costs[about.handler_id]
        nearest = sorted(range(len(ids)), key=lambda i: (float(costs.ms[i] + costs.wait_ms[i]), i))
        picked = [i for i in nearest if ids[i] not in about.nodes][:SHOWN]
        reserved = self._reserved(about.handler_id)
        found = [(self._elsewhere(about, i, reserved), ids[i]) for i in picked]
        return {node_id: text for (_, text), node_id in sorted(found, key=lambda f: (f[0][0], f[1]))}

    def _elsewhere(
        self, about: Explanation, index: int, reserved: Mapping[int, tuple[float, list[float]]]
    ) -> tuple[float, str]:
        """Return by how much the latency would grow with the handler there, and that in words; or why it cannot."""
        view = self._evaluator.model.nodes.views[index]
        handler = self._decision.variant.topology.handlers[about.handler_id]
        mib, gpu = reserved.get(view.node_id, (0.0, []))
        why = feasibility.reason(handler, view, self._request, self._snapshot, self._current, mib, gpu)
        if why is not None:
            return float("inf"), why
        moved = {**self._nodes, about.handler_id: (index, *self._nodes[about.handler_id][1:])}
        entry = self._entry
        if about.handler_id == self._evaluator.entry and self._request.entry_node is None:
            entry = index
        there = self._evaluator.evaluate(moved, entry)
        more = there.latency.total - self._chosen.latency.total
        said = about.others.get(view.node_id, "")
        words = f"{_change(more)}: {self._parts(about.handler_id, moved, entry)}"
        return more, f"{said}; {words}" if said else words

    def _parts(self, handler_id: int, nodes: Mapping[int, tuple[int, ...]], entry: int | None = None) -> str:
        compute, wait = self._evaluator.own(handler_id, nodes)
        transfer = self._evaluator.incoming(handler_id, nodes, self._entry if entry is None else entry)
        confidence = min(float(self._evaluator.costs[handler_id].confidence[n]) for n in nodes[handler_id])
        source = f"measured, {confidence:.0%} sure" if confidence >= BELIEVED else "by its profile"
        return f"{compute:.1f} ms compute ({source}) + {wait:.1f} wait + {transfer:.1f} transfer"

    def _reserved(self, handler_id: int) -> dict[int, tuple[float, list[float]]]:
        """Return what the decision's other handlers take on each node: MiB in all, and of a GPU each."""
        taken: dict[int, tuple[float, list[float]]] = {}
        for other, nodes in self._decision.placement.nodes.items():
            spec = self._decision.variant.topology.handlers[other]
            for n in nodes:
                if other != handler_id and not feasibility.stays(other, n, self._current):
                    mib, gpu = taken.get(n, (0.0, []))
                    wants = feasibility.gpu_mib(spec, self._snapshot) or 0.0
                    taken[n] = mib + feasibility.memory_mib(spec, self._snapshot), [*gpu, wants]
        return taken


def _first_refusal(handlers: Mapping[int, object], view: NodeView, request: Request, snapshot: Snapshot) -> str | None:
    try:
        for handler_id in handlers:
            only = replace(snapshot, nodes={view.node_id: view})
            feasibility.fits(request.variants[0], request, only, None, handler_id)
    except Unplaceable as refusal:
        return refusal.reasons.get(view.node_id) or refusal.detail
    return None


def _figures(outcome: Outcome) -> str:
    latency = outcome.latency
    return (
        f"{latency.total:.0f} ms ({latency.compute:.0f} compute, {latency.wait:.0f} wait, {latency.transfer:.0f} "
        f"transfer), {outcome.fps or 0:.1f} frames/s"
    )


def _change(ms: float) -> str:
    if abs(ms) < 0.05:
        return "no slower"
    return f"{ms:.1f} ms slower" if ms > 0 else f"{-ms:.1f} ms faster"
