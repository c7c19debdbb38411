"""layered_dp: the shortest path over handler x node by measured times and links, mended where handlers compete."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import inf, nextafter

import numpy as np

from coordinator.allocation import candidates
from coordinator.allocation.arrays import Floats, Ints
from coordinator.allocation.base import Decision, Placement, Request, Snapshot
from coordinator.allocation.candidates import reduce
from coordinator.allocation.improve import Pools, improve
from coordinator.allocation.links import FAR
from coordinator.allocation.objective import Rank
from coordinator.allocation.paths import Paths
from coordinator.allocation.replicate import Replicated, replicated, wanted
from coordinator.allocation.search import Chosen, Search
from wire.messages import Maximize, Minimize

POOL = 12  # nodes that a handler tries when a placement is mended
MANY, MANY_PRICED = 16, 64  # nodes from which mending is given less time; with other objectives than the latency
BUDGET, BUDGET_MANY = 3000, 24  # placements looked at, for each beginning
EXACT, NEAR = 1e-9, 0.01  # share above the lower bound
CONFLICTS, CONFLICTS_MANY = 24, 3  # paths looked at until one has the memory
FEW = 24  # nodes over which the way back and crowding are looked at
KEPT = 15  # beginnings kept beside the newest: a service's variants


@dataclass
class Beginning:
    """Paths over the nodes worth looking at. bound: no placement has a lower latency, ms. limit: what takes longer is
    of no use, for another variant does not.
    """

    paths: Paths
    bound: float
    limit: float = inf
    parted: tuple[float, Paths, float] | None = None

    def part(self, limit: float) -> tuple[Paths, float]:
        """Return the part of the paths by which *limit* can be had, and what nothing beyond it undercuts; kept."""
        if self.parted is None or self.parted[0] != limit:
            self.parted = (limit, *self.paths.part(limit, FEW))
        return self.parted[1:]


class LayeredDp:
    """Predicts the latency of every path over handlers and nodes, and takes the shortest; exact on chains whose
    handlers do not compete for memory or cores. Follows the objective. O(handlers x (nodes + candidates^2)).
    """

    def allocate(self, request: Request, snapshot: Snapshot, current: Placement | None) -> Decision:
        """Place the first variant. Raises Unplaceable, with a reason per node."""
        begun = _begun(request, snapshot, current)
        search, found = begun.paths.search, solved(begun)
        if search.short_mib(found) > 0:
            raise search.refuse(found)
        spread = replicated(begun.paths, found)
        return search.decision(spread.nodes, lambda h: _why(request, h, spread))

    def least_ms(
        self, request: Request, snapshot: Snapshot, current: Placement | None, below: float | None = None
    ) -> float:
        """Return a lower bound of what any placement of the first variant takes, without replicas that shorten its
        queues; a closer one where that is less than *below*. Raises Unplaceable.
        """
        if wanted(request):
            return 0.0
        begun = _begun(request, snapshot, current)
        if below is None or begun.bound >= below or request.replicas:
            return begun.bound
        return _closer(begun, below)


def _begun(request: Request, snapshot: Snapshot, current: Placement | None) -> Beginning:
    """Return the shortest path; that of the last few requests is kept with the snapshot. Raises Unplaceable."""
    kept = snapshot.__dict__.setdefault("layered_dp", [])
    found: Beginning
    for asked, at, found in kept:
        if asked is request and at is current:
            return found
    found = begin(Search(request, request.variants[0], snapshot, current))
    kept[:] = [(request, current, found), *kept[:KEPT]]
    return found


def begin(search: Search) -> Beginning:
    """Return the paths over the nodes worth looking at."""
    paths = Paths(search, _candidates(search))
    return Beginning(paths, paths.floor())


def _closer(begun: Beginning, below: float) -> float:
    """Return a lower bound, at most just above *below*: what is left when only nodes are used that can undercut it."""
    begun.limit = below
    part, beyond = begun.part(below)
    if beyond <= below:
        return begun.bound
    least = part.floor()  # mostly enough, and sooner known than what best() adds: the way back
    return max(begun.bound, min(part.best()[1] if least <= below else least, beyond, nextafter(below, inf)))


def solve(search: Search) -> Chosen:
    """Return the best placement found; its memory may be short when nothing else was found."""
    return solved(begin(search))


def solved(begun: Beginning) -> Chosen:
    """Return the best placement found, from the shortest path on."""
    paths, bound = begun.paths, begun.bound
    search, tried = paths.search, list[tuple[Rank, Chosen]]()
    for nodes in _first_looks(paths):
        tried.append((search.rank(nodes), nodes))
        if _proven(search, tried[-1][0], bound):
            return nodes
    part, beyond = paths, inf
    if _by_latency(search) and not search.request.replicas:
        part, beyond = begun.part(min(begun.limit, *(inf if any(rank[:2]) else rank[2] for rank, _ in tried)))
    elif search.request.rate is not None:
        part = Paths(search, paths.chosen, paths, crowded=True)
    nodes, bound = _fitting(part)
    tried.append((search.rank(nodes), nodes))
    bound = min(bound, beyond)
    if bound > begun.limit or _proven(search, tried[-1][0], bound):
        return min(tried, key=_rank)[1]
    rank, nodes = min(tried, key=_rank)
    return _mended(part if not any(rank[:2]) and part.has(nodes) else paths, bound, tried)


def _first_looks(paths: Paths) -> Iterator[Chosen]:
    """Yield what is mostly the best already."""
    yield _completed(paths, paths.first())
    yield _together(paths)


def _mended(paths: Paths, bound: float, ranks: list[tuple[Rank, Chosen]]) -> Chosen:
    """Return the best of *ranks* and of what local improvement makes of it and of other beginnings."""
    search = paths.search
    few = _many(search)
    for start in (min(ranks, key=_rank)[1], *_starts(paths, few=few)):
        gain = _crowding(search, start) if few and _by_latency(search) and not any(search.rank(start)[:2]) else inf
        budget = BUDGET_MANY if few else BUDGET
        ranks.append(improve(search, start, _pools(paths, start), budget, gain))
        if _proven(search, ranks[-1][0], bound):
            break
    return min(ranks, key=_rank)[1]


def _crowding(search: Search, nodes: Chosen) -> float:
    """Return the ms by which the path's handlers wait longer because of each other."""
    load, longer = search.costs.load(nodes), 0.0
    for handler in search.path:
        alone = [float(search.times(handler)[n]) for n in nodes[handler]]
        longer += sum(search.costs.own(handler, nodes, load)) - sum(alone) / len(alone)
    return longer


def _many(search: Search) -> bool:
    """Return True where there are so many nodes that mending is given less time, and may end near the lower bound."""
    return len(search.nodes) >= (MANY if _by_latency(search) else MANY_PRICED)


def _rank(tried: tuple[Rank, Chosen]) -> Rank:
    return tried[0]


def _fitting(paths: Paths) -> tuple[Chosen, float]:
    """Return the shortest path whose memory is there, and a lower bound: best first over what to bar.

    Where a node is too small for the handlers that the path puts there, each of them in turn is barred from it
    (conflict-based search, Sharon et al. 2015); the first path without a conflict is the shortest that fits.
    """
    search, serial = paths.search, count()
    many = _many(search)
    nodes, least = paths.best()
    queue = [(least, next(serial), paths.times, nodes)]
    for _ in range(CONFLICTS_MANY if many else CONFLICTS):
        bound, _, times, nodes = heappop(queue)
        node = search.shortest_of_memory(nodes)
        whole = _completed(paths, nodes)
        if node is None or bound >= FAR:
            return whole, bound
        there = [h for h in search.path if node in nodes[h] and (search.memory[h] > 0 or search.gpu.get(h))]
        for handler in (
            dict.fromkeys((there[0], there[-1])) if many and there else there
        ):  # an end, for that costs one hop only
            barred = times[handler].copy()
            barred[paths.at[node]] = FAR
            child = {**times, handler: barred}
            found, bound = paths.best(child)
            if bound < FAR:
                heappush(queue, (bound, next(serial), child, found))
        if not queue:
            return whole, least
    return _completed(paths, queue[0][3]), queue[0][0]


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


def _proven(search: Search, rank: Rank, bound: float) -> bool:
    """Return True when nothing can be (much) better: the bound is met and the objective is the latency."""
    share = NEAR if _many(search) else EXACT
    return _by_latency(search) and rank[0] == rank[1] == 0 and rank[2] <= bound * (1 + share)


def _by_latency(search: Search) -> bool:
    objective = search.request.objective
    return objective.maximize is not Maximize.THROUGHPUT and objective.minimize not in (Minimize.COST, Minimize.ENERGY)


def _completed(paths: Paths, nodes: Chosen) -> Chosen:
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


def _pools(paths: Paths, nodes: Chosen) -> Pools:
    """Return for each handler the nodes worth trying, with the ms that its time and the way from and to its neighbours
    would grow: the nearest to its neighbours, and those used already.
    """
    search, used = paths.search, sorted({n for places in nodes.values() for n in places})
    near = paths.all_near(nodes)
    order = paths.chosen.take(np.argsort(near, axis=1, kind="stable")[:, :POOL])
    pools = {}
    for handler, ms, best in zip(paths.handlers, near.tolist(), order.tolist(), strict=True):
        here = min(ms[paths.at[n]] for n in nodes[handler])
        feasible = search.feasible[handler]
        pools[handler] = {n: ms[paths.at[n]] - here for n in dict.fromkeys([*best, *used]) if feasible[n]}
    return pools


def _starts(paths: Paths, *, few: bool) -> Iterator[Chosen]:
    """Yield other placements to begin with: the cheapest of their kind, all on one node, and spread out."""
    search, objective = paths.search, paths.search.request.objective
    prices = {Minimize.COST: search.nodes.price, Minimize.ENERGY: search.nodes.joules}
    price = prices.get(objective.minimize) if objective.minimize else None
    if price is not None:
        for share in (0.0, 0.1, 1.0, 10.0):
            yield _completed(paths, _priced(paths, price, share))
    if objective.maximize is Maximize.THROUGHPUT or not few:
        yield _together(paths)
        yield _completed(paths, _spread(paths))


def _together(paths: Paths) -> Chosen:
    """Return all handlers that may on the node which computes them soonest and has the memory for them."""
    search = paths.search
    alone = sum((paths.times[h] for h in search.order), np.zeros(len(paths.chosen)))
    for resource in search.resources:
        wants = resource.of(search.order, paths.chosen).sum(axis=0)
        alone = alone + FAR * len(search.order) * (resource.free[paths.chosen] < wants)
    at = int(np.argmin(alone))
    node = int(paths.chosen[at])
    return _completed(paths, {h: (node,) for h in search.order if search.feasible[h][node]})


def _priced(paths: Paths, price: Floats, share: float) -> Chosen:
    """Return the path with the least price + share x latency, both measured by their least values."""
    costs = paths.search.costs.costs
    price = price[paths.chosen]
    prices = {h: np.where(paths.times[h] < FAR, costs[h].ms[paths.chosen] * price, FAR) for h in paths.search.path}
    least = sum(float(p.min()) for p in prices.values()) or 1.0
    scale = share * least / max(1e-9, sum(float(paths.times[h].min()) for h in paths.search.path)) or 1e-9 * least
    return paths.weighed({h: p + scale * paths.times[h] for h, p in prices.items()}, scale)


def _spread(paths: Paths) -> Chosen:
    """Return each handler, the longest first, on the node where it finds the most of free cores."""
    search = paths.search
    busy: Floats = np.zeros(len(paths.chosen))
    free = search.costs.model.free_cores[paths.chosen]
    nodes: Chosen = {}
    for handler in sorted(search.path, key=lambda h: -float(paths.times[h].min())):
        at = int((paths.times[handler] + (busy + paths.times[handler]) / free).argmin())
        busy[at] += paths.times[handler][at]
        nodes[handler] = (int(paths.chosen[at]),)
    return nodes


def _why(request: Request, handler: int, spread: Replicated) -> str:
    if request.pins.get(handler):
        return "pinned"
    replicas = len(spread.nodes[handler])
    objective = request.objective
    aims = [str(aim) for aim in (objective.maximize, objective.minimize) if aim not in (None, Maximize.ACCURACY)]
    words = f"best predicted {' and '.join(aims) or 'latency'}" + (f", {replicas} replicas" if replicas > 1 else "")
    if replicas == 1 or spread.before is None or handler in request.replicas:
        return words
    late = f"{spread.after:.1%} of the frames later than {request.within_ms:g} ms"
    return f"{words}: {late} instead of {spread.before:.1%}"
