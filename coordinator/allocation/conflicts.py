"""The shortest path whose memory is there: best first over what to bar.

Where a node is too small for the handlers that the path puts there, each of them in turn is barred from it
(conflict-based search, Sharon et al. 2015); the first path without a conflict is the shortest that fits.
"""

from heapq import heappop, heappush
from itertools import count

from coordinator.allocation.links import FAR
from coordinator.allocation.paths import Paths, Ways
from coordinator.allocation.search import Chosen, Search

Open = list[tuple[float, int, Ways, Chosen | None]]  # bound, serial, what is not barred, the path when it is known


def fitting(paths: Paths, limit: float, most: int, *, ends: bool) -> tuple[Chosen, float]:
    """Return the path and a lower bound; when none is found, the last one looked at.

    limit: ms, what takes longer is not looked at; most: so many paths are looked at; ends: only the first and the last
    of the handlers on a node are barred, for that costs one hop only.
    """
    serial, waiting = count(), Open()
    nodes, least = paths.best()
    bound, ways = least, paths.ways
    for _ in range(most):
        node = paths.search.shortest_of_memory(nodes)
        if node is None or bound >= FAR:
            break
        for handler in _there(paths.search, nodes, node, ends=ends):
            child = paths.barred(ways, handler, paths.at[node])
            heappush(waiting, (paths.bound(child), next(serial), child, None))
        bound, ways, found = _next(paths, waiting, limit)
        if found is None:
            return nodes, bound if bound < FAR else least
        nodes = found
    return nodes, bound


def _there(search: Search, nodes: Chosen, node: int, *, ends: bool) -> list[int]:
    """Return the handlers to bar from the node."""
    there = [h for h in search.path if node in nodes[h] and (search.memory[h] > 0 or search.gpu.get(h))]
    return list(dict.fromkeys((there[0], there[-1]))) if ends and there else there


def _next(paths: Paths, waiting: Open, limit: float) -> tuple[float, Ways, Chosen | None]:
    """Take the shortest path of what waits, None when it takes longer than *limit*. A path is looked for when its turn
    comes only, for that takes longer than its bound.
    """
    while waiting:
        bound, number, ways, nodes = heappop(waiting)
        if bound > limit or bound >= FAR:
            return bound, ways, None
        if nodes is not None:
            return bound, ways, nodes
        nodes, bound = paths.shortest(ways)
        heappush(waiting, (bound, number, ways, nodes))
    return FAR, paths.ways, None
