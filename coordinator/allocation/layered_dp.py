"""layered_dp: the shortest path over handler x node by measured times and links, mended where handlers compete."""

from collections.abc import Iterator
from math import inf, nextafter

import numpy as np

from coordinator.allocation.arrays import Floats
from coordinator.allocation.base import Decision, Placement, Request, Snapshot
from coordinator.allocation.beginning import Beginning, begin, by_latency, completed, many, proven, together
from coordinator.allocation.conflicts import fitting
from coordinator.allocation.improve import Pools, improve
from coordinator.allocation.links import FAR
from coordinator.allocation.objective import Rank
from coordinator.allocation.paths import Paths
from coordinator.allocation.race import NONE, Bounds
from coordinator.allocation.replicate import Replicated, replicated, wanted
from coordinator.allocation.search import Chosen, Search
from wire.messages import Maximize, Minimize

POOL = 12  # nodes that a handler tries when a placement is mended
BUDGET, BUDGET_MANY = 3000, 24  # placements looked at, for each beginning
CONFLICTS, CONFLICTS_MANY = 24, 3  # paths looked at until one has the memory
KEPT = 15  # beginnings kept beside the newest: a service's variants


class LayeredDp:
    """Predicts the latency of every path over handlers and nodes, and takes the shortest; exact on chains whose
    handlers do not compete for memory or cores. Follows the objective. O(handlers x (nodes + candidates^2)).
    """

    def allocate(self, request: Request, snapshot: Snapshot, current: Placement | None) -> Decision:
        """Place the first variant. Raises Unplaceable, with a reason per node."""
        begun = _begun(request, snapshot, current)
        search, found = begun.search, solved(begun)
        if search.short_mib(found) > 0:
            raise search.refuse(found)
        spread = replicated(begun.paths, found)
        return search.decision(spread.nodes, lambda h: _why(request, h, spread))

    def latency_bounds(
        self, request: Request, snapshot: Snapshot, current: Placement | None, below: float | None = None
    ) -> Bounds:
        """Return between what the latency of the first variant lies, without replicas that shorten its queues; closer
        where it may be less than *below*. Raises Unplaceable.
        """
        if wanted(request):
            return NONE
        begun = _begun(request, snapshot, current)
        if below is None or begun.bound >= below or request.replicas or not by_latency(begun.search):
            return Bounds(begun.bound, inf)
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


def _closer(begun: Beginning, below: float) -> Bounds:
    """Return a lower bound, at most just above *below*: what is left when only nodes are used that can undercut it; and
    without another variant to undercut what is seen at a first look.
    """
    begun.limit = below
    if below == inf and begun.look():
        return Bounds(begun.bound, begun.useful())
    part, beyond = begun.part()
    least = part.floor()  # mostly enough, and sooner known than what best() adds: the way back
    least = min(part.best()[1] if least <= below else least, beyond, nextafter(below, inf))
    return Bounds(max(begun.bound, least), begun.useful())


def solve(search: Search) -> Chosen:
    """Return the best placement found; its memory may be short when nothing else was found."""
    return solved(begin(search))


def solved(begun: Beginning) -> Chosen:
    """Return the best placement found, from the shortest path on."""
    search, paths, part = begun.search, begun.paths, begun.paths
    bounded = by_latency(search) and not search.request.replicas
    if not (bounded and begun.limit < inf) and begun.look():
        return begun.looked[-1][1]
    limit = beyond = inf
    if bounded:
        limit, (part, beyond) = begun.useful(), begun.part()
    elif search.request.rate is not None:
        part = Paths(search, paths.chosen, paths, crowded=True)
    nodes, bound = _fitting(part, limit)
    tried = [*begun.looked, (search.rank(nodes), nodes)]
    if min(tried, key=_rank)[0][0] > 0 and not begun.looked:
        begun.look()
        tried += begun.looked
    rank, nodes = min(tried, key=_rank)
    bound = min(bound, beyond)
    if bound > begun.limit or proven(search, rank, bound):
        return nodes
    return _mended(part if not any(rank[:2]) and part.has(nodes) else paths, bound, tried, begun.limit)


def _mended(paths: Paths, bound: float, ranks: list[tuple[Rank, Chosen]], limit: float) -> Chosen:
    """Return the best of *ranks* and of what local improvement makes of it and of other beginnings. limit: what takes
    longer is of no use.
    """
    search = paths.search
    few = many(search)
    for start in (min(ranks, key=_rank)[1], *_starts(paths, few=few)):
        relief, rank = None, search.rank(start)
        if few and by_latency(search) and not any(rank[:2]):
            if rank[2] - search.costs.crowding(start) > limit:
                continue
            relief = search.costs.relief(start)
        budget = BUDGET_MANY if few else BUDGET
        ranks.append(improve(search, start, _pools(paths, start), budget, relief))
        if proven(search, ranks[-1][0], bound):
            break
    return min(ranks, key=_rank)[1]


def _rank(tried: tuple[Rank, Chosen]) -> Rank:
    return tried[0]


def _fitting(paths: Paths, limit: float) -> tuple[Chosen, float]:
    """Return the shortest path whose memory is there, as far as it is found, and a lower bound of what takes up to
    *limit*.
    """
    few = many(paths.search)
    nodes, bound = fitting(paths, limit, CONFLICTS_MANY if few else CONFLICTS, ends=few)
    return completed(paths, nodes), bound


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
            yield completed(paths, _priced(paths, price, share))
    if objective.maximize is Maximize.THROUGHPUT or not few:
        yield together(paths)
        yield completed(paths, _spread(paths))


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
