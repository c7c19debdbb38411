"""What the simulated coordinator asks the algorithms, as the real one does: a new session, a repair, a better place."""

from collections.abc import Iterable, Mapping

import msgspec

from coordinator.allocation.base import Placement, Request, Variant
from coordinator.allocation.decide import admissible
from simulator.held import Held
from simulator.scenario import Control
from wire.messages import Objective

replace = msgspec.structs.replace


def objective(held: Held, control: Control) -> Objective:
    """Return what the session wants; with the frames/s that its client says it will send."""
    wants = held.clients.objective
    return replace(wants, min_fps=held.clients.fps) if control.rated and wants.min_fps is None else wants


def new(held: Held, variants: tuple[Variant, ...], control: Control, seed: int) -> Request:
    """Return what a client asks."""
    wants = objective(held, control)
    placed = held.clients.placed if held.placement is None and held.refusals == 0 else {}
    pins = {**held.clients.pinned, **placed}
    return Request(
        service=held.clients.service,
        variants=admissible(variants, wants),
        objective=wants,
        pins={handler: tuple(nodes) for handler, nodes in pins.items()},
        entry_node=held.entry_node,
        rate=wants.min_fps,
        seed=seed,
    )


def unbound(request: Request) -> Request:
    """Return *request* so that a placement is had even where it will miss the objective."""
    objective = replace(request.objective, max_latency_ms=None, min_fps=None)
    return replace(request, objective=objective, judged_ms=request.within_ms)


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


def started(old: Placement, new: Placement) -> list[int]:
    """Return the handlers that some node must load first."""
    return [h for h in new.nodes if set(new.nodes[h]) - set(old.nodes.get(h, ()))]


def placements(held: Mapping[int, Held]) -> dict[int, Placement]:
    """Return those of the sessions that have one."""
    return {number: h.promised[1] for number, h in held.items() if h.promised is not None}
