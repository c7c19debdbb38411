"""A placement in sentences, for people who read an answer and no code. Pure."""

from coordinator.records import Planned, Prediction

LEAST_MS = 0.5  # a part that is less is not told
BASIS = {
    "measured": "by what was measured on these nodes",
    "mixed": "partly by measurements, partly by what the types' profiles say",
    "prior": "by what the types' profiles say, for nothing was measured yet",
}


def summary(plan: Planned, variant: str) -> list[str]:
    """Return what runs where, what it will give and what that is known from, and why nothing else."""
    names = {h.handler_id: h.handler_name or f"handler {h.handler_id}" for h in plan.graph.handlers}
    on_node: dict[tuple[int, ...], list[str]] = {}
    for handler_id, nodes in plan.placement.items():
        on_node.setdefault(tuple(nodes), []).append(names.get(handler_id, f"handler {handler_id}"))
    where = "; ".join(f"{_listed(handlers)} on {_nodes(nodes)}" for nodes, handlers in on_node.items())
    return [
        f"Variant {variant}, placed by {plan.algorithm}: {where}. Frames enter at node {plan.entry_node}.",
        _expected(plan.predicted),
        *(f"Not variant {name}: {why}." for name, why in plan.passed_over.items()),
    ]


def _expected(predicted: Prediction) -> str:
    times = {
        "computing": predicted.compute_ms,
        "waiting for cores and queues": predicted.wait_ms,
        "on the way between nodes": predicted.transfer_ms,
    }
    parts = [f"{ms:.0f} {what}" for what, ms in times.items() if ms >= LEAST_MS]
    more = [f"up to {predicted.fps:.1f} frames/s"] if predicted.fps else []
    more += [f"accuracy {predicted.accuracy:g}"] if predicted.accuracy is not None else []
    more += [f"{predicted.cost_per_1000:.3g} per 1,000 frames"] if predicted.cost_per_1000 is not None else []
    basis = BASIS.get(predicted.basis, predicted.basis)
    made_of = f" ({', '.join(parts)})" if len(parts) > 1 else ""
    told = [f"{predicted.latency_ms:.0f} ms per frame{made_of}", ", ".join(more), basis]
    return f"Expected: {'; '.join(t for t in told if t)}."


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _nodes(nodes: tuple[int, ...]) -> str:
    return f"node {nodes[0]}" if len(nodes) == 1 else f"nodes {', '.join(map(str, nodes))} (replicas)"
