"""A variant as the frame path needs it: where each handler's output goes, and how many bytes that is."""

from typing import NamedTuple

from coordinator.allocation.base import Snapshot, TypeView, Variant
from coordinator.allocation.cost import always_run
from coordinator.allocation.links import INPUT, load_of, result_load


class Shape(NamedTuple):
    """out: handler -> (target, bytes); joins: handler -> inputs; exits: handler -> bytes of the result."""

    entry: int
    input_bytes: float
    out: dict[int, list[tuple[int, float]]]
    joins: dict[int, int]
    exits: dict[int, float]
    accuracy: float | None


def shape(variant: Variant, types: dict[int, TypeView]) -> Shape:
    """Return the part of *variant* that every frame passes."""
    snapshot = Snapshot(nodes={}, types=types)
    topology, always = variant.topology, always_run(variant)
    out = {
        h: [
            (k.target_handler, load_of(variant, k, snapshot).bytes)
            for k in topology.links_from(h)
            if k.target_handler in always
        ]
        for h in always
    }
    exits = {
        e.handler_id: result_load(variant, e.handler_id, e.output, snapshot).bytes
        for e in topology.exits
        if not e.on_demand
    }
    joins = {h: len(topology.links_to(h)) for h in always}
    return Shape(topology.entry, INPUT.bytes, out, joins, exits, variant.accuracy)
