"""Replicas for handlers whose queue would make frames late: one after the other, while each brings enough."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from coordinator.allocation.arrays import Floats
from coordinator.allocation.base import Request
from coordinator.allocation.gather import gathered
from coordinator.allocation.paths import Paths
from coordinator.allocation.queueing import core_stretch
from coordinator.allocation.search import Chosen, Search
from coordinator.allocation.tail import Tail
from wire.messages import Minimize

GOOD = 0.002  # share of late frames for which nothing is done
LEAST = 0.002  # by so much a replica must lower it
ELSEWHERE = 0.02  # by so much another node must lower it: the mean is longer there
REPLICAS = 4  # of a handler at most
HANDLERS, TRIED = 2, 2  # that may get the next replica; nodes that it tries
ROOM = 4.0  # a replica takes at most this part of the memory that is free on its node: newcomers need some too
LINE = 0.05  # of a line between two nodes so much at most, each way: others use it too, and pictures are large
STAYS = 0.8  # where a replica runs already counts as so much nearer


class Replicated(NamedTuple):
    """nodes: with replicas; before, after: shares of late frames, None where nothing is known of them."""

    nodes: Chosen
    before: float | None = None
    after: float | None = None


def wanted(request: Request) -> bool:
    """Return whether frames can be late: how many come, and by when they are of use, is known; money is not the aim."""
    bounded = request.rate is not None and request.within_ms is not None
    return bounded and request.objective.minimize not in (Minimize.COST, Minimize.ENERGY)


def replicated(paths: Paths, nodes: Chosen) -> Replicated:
    """Return *nodes* with replicas of stateless handlers that nobody pinned or counted. No bound is broken by one.

    At most four placements are looked at for each.
    """
    search = paths.search
    limit = search.request.within_ms
    if limit is None or not wanted(search.request):
        return Replicated(nodes)
    tail = Tail(search.costs, limit)
    before = share = tail.late(nodes, search.entry(nodes))
    if share > GOOD:
        share, nodes = _begun(paths, tail, share, nodes)
    while share > GOOD:
        slowest = [h for h in tail.slowest(nodes, search.entry(nodes)) if _may(search, nodes, h)][:HANDLERS]
        found = [(tail.late(more, search.entry(more)), i, more) for i, more in enumerate(_more(paths, nodes, slowest))]
        if not found or min(found)[0] > share - LEAST:
            break
        share, _, nodes = min(found)
    return Replicated(nodes, before, share)


def _begun(paths: Paths, tail: Tail, share: float, nodes: Chosen) -> tuple[float, Chosen]:
    """Return *nodes*, or the placement on one node that has fewer late frames by far, with its share of them."""
    search = paths.search
    allowed = search.rank(nodes)[:2]
    others = [g for g in gathered(paths, nodes) if search.rank(g)[:2] <= allowed]
    found = [(tail.late(g, search.entry(g)), i, g) for i, g in enumerate(others)]
    least, _, best = min(found, default=(share, 0, nodes))
    return (least, best) if least < share - ELSEWHERE else (share, nodes)


def _more(paths: Paths, nodes: Chosen, handlers: Sequence[int]) -> Iterator[Chosen]:
    """Yield the placements with one replica more of *handlers* that break no more bounds than *nodes* does."""
    search = paths.search
    allowed = search.rank(nodes)[:2]
    for handler in handlers:
        for node in _nodes(paths, nodes, handler):
            more = {**nodes, handler: (*nodes[handler], node)}
            if search.rank(more)[:2] <= allowed and _line_share(search, more, handler) <= LINE:
                yield more


def _may(search: Search, nodes: Chosen, handler: int) -> bool:
    view = search.types.get(search.variant.topology.handlers[handler].handler_type)
    asked = handler in search.request.replicas or handler in search.request.pins
    joins = len(search.costs.into[handler]) > 1  # its inputs meet by the sequence, whoever is busy
    return not (asked or joins or (view is not None and view.stateful)) and len(nodes[handler]) < REPLICAS


def _line_share(search: Search, nodes: Chosen, handler: int) -> float:
    """Return which part of the busiest line to or from *handler* its session fills, 0-1."""
    costs = search.costs
    links = [(s, t, load) for t in costs.always for s, load in costs.into[t] if handler in (s, t)]
    busy_ms = max((costs.model.links.occupied(nodes[s], nodes[t], load) for s, t, load in links), default=0.0)
    return busy_ms * (costs.rate or 0.0) / 1000


def _nodes(paths: Paths, nodes: Chosen, handler: int) -> list[int]:
    """Return the nodes that a new replica tries: near its neighbours, with free cores and memory."""
    search, at = paths.search, paths.chosen
    ms, model = search.costs.costs[handler].ms[at], search.costs.model
    own = (search.request.rate or 0.0) * ms / 1000 / (len(nodes[handler]) + 1)
    cpus = model.nodes.cpus[at]
    cost: Floats = paths.near(handler, nodes) + ms * core_stretch(model.nodes.utilisation[at] + own / cpus, cpus)
    stays = np.array([search.stays(handler, int(n)) for n in at])
    cost = np.where(stays, STAYS * cost, cost)
    room = stays | (ROOM * search.memory[handler] <= model.nodes.mem_free[at])
    free = search.feasible[handler][at] & room & ~np.isin(at, nodes[handler])
    return [int(at[i]) for i in np.argsort(cost, kind="stable") if free[i]][:TRIED]
