"""What the simulated coordinator asks the algorithms, as the real one does: a new session, a repair, a better place."""

from collections.abc import Iterable, Mapping

import msgspec

from coordinator.allocation.base import Placement, Request, Variant
from coordinator.allocation.decide import admissible
from simulator.held import Held
from simulator.scenario import Control
from wire.messages import Objective

replace = msgspec.structs.replace


def new(held: Held, variants: tuple[Variant, ...], control: Control, seed: int, *, bounds: bool) -> Request:
    """Return what a client asks. bounds: it wants no session that is predicted to miss the objective."""
    objective = held.clients.objective
    rate = held.clients.fps if control.rated else objective.min_fps
    if rate is not None and objective.min_fps is None:
        objective = replace(objective, min_fps=rate)
    if not bounds:
        objective = unbound(objective)
    return Request(
        service=held.clients.service,
        variants=admissible(variants, objective),
        objective=objective,
        entry_node=held.entry_node,
        rate=rate,
        seed=seed,
    )


def unbound(objective: Objective) -> Objective:
    """Return *objective* without what would refuse a placement."""
    return replace(objective, max_latency_ms=None, min_fps=None)


def repair(request: Request, placement: Placement, lost: Iterable[int]) -> tuple[Request, Placement]:
    """Return *request* so that all that runs well stays, and the part of *placement* that still stands."""
    gone = set(lost)
    stays = {h: tuple(n for n in places if n not in gone) for h, places in placement.nodes.items()}
    pins = {**request.pins, **{h: places for h, places in stays.items() if places}}
    replicas = {h: max(1, len(places)) for h, places in stays.items()}
    asked = None if request.entry_node in gone else request.entry_node
    entry = asked if placement.entry_node in gone else placement.entry_node
    surviving = Placement(nodes=stays, entry_node=-1 if placement.entry_node in gone else placement.entry_node)
    return replace(request, pins=pins, replicas=replicas, entry_node=entry), surviving


def moved(old: Placement, new: Placement) -> int:
    """Return how many handlers are elsewhere."""
    return sum(sorted(new.nodes[h]) != sorted(old.nodes.get(h, ())) for h in new.nodes)


def placements(held: Mapping[int, Held]) -> dict[int, Placement]:
    """Return those of the sessions that have one."""
    return {number: h.placement for number, h in held.items() if h.placement is not None}
