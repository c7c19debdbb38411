"""What a search begins with: which nodes it looks at, a lower bound, and what is mostly the best already."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

import numpy as np

from coordinator.allocation import candidates
from coordinator.allocation.arrays import Ints
from coordinator.allocation.candidates import reduce
from coordinator.allocation.links import FAR
from coordinator.allocation.objective import Rank
from coordinator.allocation.paths import Paths
from coordinator.allocation.search import Chosen, Search
from wire.messages import Maximize, Minimize

MANY, MANY_PRICED = 16, 64  # nodes from which mending is given less time; with other objectives than the latency
EXACT, NEAR = 1e-9, 0.01  # share above the lower bound
FEW = 24  # nodes over which the way back and crowding are looked at


@dataclass
class Beginning:
    """Paths over the nodes worth looking at. bound: no placement has a lower latency, ms. limit: what takes longer is
    of no use, for another variant does not. looked: the first looks, or those until one was proven the best.
    """

    paths: Paths
    bound: float
    limit: float = inf
    looked: list[tuple[Rank, Chosen]] = field(default_factory=list)
    _part: tuple[float, Paths, float] | None = None

    @property
    def search(self) -> Search:
        """What is searched."""
        return self.paths.search

    def look(self) -> bool:
        """Look at what is mostly the best already; return True when it is proven to be."""
        if not self.looked:
            for nodes in _first_looks(self.paths):
                self.looked.append((self.search.rank(nodes), nodes))
                if proven(self.search, self.looked[-1][0], self.bound):
                    break
        return proven(self.search, self.looked[-1][0], self.bound)

    def useful(self) -> float:
        """Return the ms above which a placement is of no use."""
        return min([self.limit, *(rank[2] for rank, _ in self.looked if not any(rank[:2]))])

    def part(self) -> tuple[Paths, float]:
        """Return the part of the paths by which what is useful can be had, and what nothing beyond it undercuts."""
        limit = self.useful()
        if self._part is None or self._part[0] < limit:
            self._part = (limit, *self.paths.part(limit, FEW))
        return self._part[1:]


def begin(search: Search) -> Beginning:
    """Return the paths over the nodes worth looking at."""
    paths = Paths(search, _candidates(search))
    return Beginning(paths, paths.floor())


def many(search: Search) -> bool:
    """Return True where there are so many nodes that mending is given less time, and may end near the lower bound."""
    return len(search.nodes) >= (MANY if by_latency(search) else MANY_PRICED)


def proven(search: Search, rank: Rank, bound: float) -> bool:
    """Return True when nothing can be (much) better: the bound is met and the objective is the latency."""
    share = NEAR if many(search) else EXACT
    return by_latency(search) and rank[0] == rank[1] == 0 and rank[2] <= bound * (1 + share)


def by_latency(search: Search) -> bool:
    """Return True where placements are compared by their latency first."""
    objective = search.request.objective
    return objective.maximize is not Maximize.THROUGHPUT and objective.minimize not in (Minimize.COST, Minimize.ENERGY)


def completed(paths: Paths, nodes: Chosen) -> Chosen:
    """Add replicas, then the handlers on demand, each where it is nearest and memory is left."""
    search = paths.search
    nodes = dict(nodes)
    for handler in search.order:
        wanted = search.request.count(handler)
        if len(nodes.get(handler, ())) >= wanted:
            continue
        near = paths.near(handler, nodes)
        feasible = search.feasible[handler][paths.chosen]
        for at in np.argsort(near, kind="stable"):
            places = nodes.get(handler, ())
            if len(places) >= wanted or not feasible[at]:
                break
            n = int(paths.chosen[at])
            if n not in places and (len(places) > 0 or search.short_mib({**nodes, handler: (n,)}) == 0):
                nodes[handler] = (*places, n)
        if handler not in nodes:
            nodes[handler] = (int(paths.chosen[near.argmin()]),)
    return nodes


def together(paths: Paths) -> Chosen:
    """Return all handlers that may on the node which computes them soonest and has the memory for them."""
    search = paths.search
    alone = sum((paths.times[h] for h in search.order), np.zeros(len(paths.chosen)))
    for resource in search.resources:
        wants = resource.of(search.order, paths.chosen).sum(axis=0)
        alone = alone + FAR * len(search.order) * (resource.free[paths.chosen] < wants)
    at = int(np.argmin(alone))
    node = int(paths.chosen[at])
    return completed(paths, {h: (node,) for h in search.order if search.feasible[h][node]})


def _first_looks(paths: Paths) -> Iterator[Chosen]:
    """Yield what is mostly the best already."""
    yield completed(paths, paths.first())
    yield together(paths)


def _candidates(search: Search) -> Ints:
    order, every = [*search.path, *search.demand], np.arange(len(search.nodes))
    if len(every) <= candidates.SMALL:
        return every
    spare = 3 if search.request.rate is not None or search.request.replicas else 2 if search.resources else 1
    rooms = [(resource.of(order, every), resource.free) for resource in search.resources]
    linked = search.costs.model.links.linked
    chosen = reduce(search.nodes, search.weights, rooms, linked, spare, [search.request.count(h) for h in order])
    if search.fixed_entry is None or search.fixed_entry in chosen:
        return chosen
    return np.sort(np.append(chosen, search.fixed_entry))
