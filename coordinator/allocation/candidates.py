"""Which nodes are worth looking at: the few of each zone that can be on a best path.

Links cost by zone, so of a zone's nodes, for a run of neighbouring handlers on one node, only the one with the least
sum of their times can win: an exchange for it makes nothing dearer (while handlers do not compete). The runs are the
intervals of the order, and a beginning with an end (that saves the way back). Measured links and pins break the
symmetry: their nodes are kept.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from coordinator.allocation.arrays import Bools, Floats, Ints, Nodes
from coordinator.allocation.links import FAR

SMALL = 128  # so many nodes are all looked at
LINKED = 64  # of those with measured links so many, the fastest
KEPT = 8  # of a handler's nodes so many in any case, the fastest


def reduce(
    nodes: Nodes, times: Floats, feasible: Bools, linked: Iterable[int], spare: int, counts: Sequence[int]
) -> Ints:
    """Return indices of nodes, ascending. times, feasible: (handlers, nodes), the main path's in their order first.

    spare: how many of each zone and run; more than one where handlers compete. counts: replicas of each handler.
    O(handlers^2 x nodes).
    """
    if len(nodes) <= SMALL:
        return np.arange(len(nodes))
    usable: Bools = np.asarray(feasible.any(axis=0))
    weights = np.where(feasible, times, FAR)
    chosen = set(_best_by_zone(nodes, _runs(weights), spare))
    for row, count in zip(weights, counts, strict=True):
        chosen.update(_smallest(row, max(KEPT, count)))
    total = weights.sum(axis=0)
    chosen.update(sorted(set(linked), key=lambda i: (float(total[i]), i))[:LINKED])
    return np.array(sorted(i for i in chosen if usable[i]), np.intp)


def _runs(weights: Floats) -> Floats:
    """Return (runs, nodes): the time that each run of handlers takes on each node."""
    count = len(weights)
    sums = np.vstack([np.zeros(weights.shape[1]), np.cumsum(weights, axis=0)])
    runs = [sums[j] - sums[i] for i in range(count) for j in range(i + 1, count + 1)]
    runs += [sums[i] + sums[count] - sums[j] for i in range(1, count) for j in range(i + 1, count)]
    return np.array(runs)


def _best_by_zone(nodes: Nodes, runs: Floats, spare: int) -> Iterable[int]:
    order = np.argsort(nodes.zone, kind="stable")
    edges: Sequence[int] = np.flatnonzero(np.diff(nodes.zone[order], prepend=-1)).tolist()
    runs = runs[:, order]
    for begin, end in zip(edges, [*edges[1:], len(order)], strict=True):
        part, count = runs[:, begin:end], min(spare, end - begin)
        best = part.argpartition(count - 1, axis=1)[:, :count]
        good = np.take_along_axis(part, best, axis=1) < FAR
        yield from order[begin + best[good]].tolist()


def _smallest(row: Floats, count: int) -> list[int]:
    found: list[int] = np.argpartition(row, min(count, len(row) - 1))[:count].tolist()
    return [i for i in found if row[i] < FAR]
