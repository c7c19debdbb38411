"""Local improvement of a placement: what shortest paths leave out (memory, crowding, joins, replicas) is mended here.

Moves, from small to large: a handler to another node; two neighbours each to another; two handlers exchanged; all
to one node. The first that ranks better is taken, until none does or the budget is spent.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations, product

from coordinator.allocation.objective import Rank
from coordinator.allocation.search import Chosen, Search

Pools = Mapping[int, Mapping[int, float]]  # handler_id -> nodes worth trying, best first, and ms that it would grow
PAIR = 6  # nodes of a pool that two neighbours try together


def improve(
    search: Search, nodes: Chosen, pools: Pools, budget: int, relief: Mapping[int, float] | None = None
) -> tuple[Rank, Chosen]:
    """Return the local optimum from *nodes* and its rank, after at most *budget* placements looked at.

    relief: handler -> ms that it and others wait less when it leaves; where that is known, only single handlers move,
    to where they grow by less.
    """
    best = search.rank(nodes)
    better = True
    while better and budget > 0:
        better = False
        for moved in _moves(search, nodes, pools, relief):
            budget -= 1
            found = search.rank(moved)
            if _less(found, best):
                best, nodes, better = found, moved, True
                break
            if budget <= 0:
                break
    return best, nodes


def _less(a: Rank, b: Rank) -> bool:
    """Return a < b, but for the noise of floating point."""
    for left, right in zip(a, b, strict=True):
        if abs(left - right) > 1e-9 * max(1.0, abs(left), abs(right)):
            return left < right
    return False


def _moves(search: Search, nodes: Chosen, pools: Pools, relief: Mapping[int, float] | None) -> Iterator[Chosen]:
    free = [h for h in search.order if len(pools[h]) > len(nodes[h])]
    singles = [(ms, handler, n) for handler in free for n, ms in pools[handler].items() if n not in nodes[handler]]
    for ms, handler, n in sorted(singles):
        if relief is None or ms < relief[handler]:
            yield from _single(nodes, handler, n)
    if relief is not None:
        return
    links = {(k.source_handler, k.target_handler) for k in search.variant.topology.graph.links}
    near = {h: list(pool)[:PAIR] for h, pool in pools.items()}
    pairs = [(a, b) for a, b in combinations(free, 2) if len(nodes[a]) == len(nodes[b]) == 1]
    for a, b in sorted(pairs, key=lambda pair: pair not in links):
        for n, m in product(near[a], near[b]):
            if (n,) != nodes[a] and (m,) != nodes[b]:
                yield {**nodes, a: (n,), b: (m,)}
        if nodes[a] != nodes[b] and search.feasible[a][nodes[b][0]] and search.feasible[b][nodes[a][0]]:
            yield {**nodes, a: nodes[b], b: nodes[a]}
    ones = [h for h in free if len(nodes[h]) == 1]
    for n in sorted({n for h in ones for n in near[h]}):
        yield {**nodes, **{h: (n,) for h in ones if search.feasible[h][n]}}


def _single(nodes: Chosen, handler: int, n: int) -> Iterator[Chosen]:
    places = nodes[handler]
    for i in range(len(places)):
        yield {**nodes, handler: (*places[:i], n, *places[i + 1 :])}
