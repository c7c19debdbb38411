"""Which nodes are worth looking at: the few of each zone that can be on a best path.

Links cost by zone, so of a zone's nodes, for a run of neighbouring handlers on one node, only the one with the least
sum of their times can win: an exchange for it makes nothing dearer (while handlers do not compete). The runs are the
intervals of the order, and a beginning with an end (that saves the way back). Measured links and pins break the
symmetry: their nodes are kept. A run that a node has not the memory for is none of it.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from coordinator.allocation.arrays import Floats, Ints, Nodes
from coordinator.allocation.links import FAR

SMALL = 128  # so many nodes are all looked at
LINKED = 64  # of those with measured links so many, the fastest
KEPT = 8  # of a handler's nodes so many in any case, the fastest

Room = tuple[Floats, Floats]  # (handlers, nodes or 1) what each wants; (nodes,) what is free


def reduce(
    nodes: Nodes, weights: Floats, rooms: Sequence[Room], linked: Iterable[int], spare: int, counts: Sequence[int]
) -> Ints:
    """Return indices of nodes, ascending. weights: (handlers, nodes) ms, FAR where a handler may not run, the main
    path's in their order first. rooms: what else runs out.

    spare: how many of each zone and run; more than one where handlers compete. counts: replicas of each handler.
    O(handlers^2 x nodes).
    """
    chosen = [_best_by_zone(nodes, _runs(weights, rooms), spare)]
    chosen += [_smallest(row, max(KEPT, count)) for row, count in zip(weights, counts, strict=True)]
    total = weights.sum(axis=0)
    chosen.append(np.array(sorted(linked, key=lambda i: (float(total[i]), i))[:LINKED], np.intp))
    found = np.zeros(len(nodes), bool)
    found[np.concatenate(chosen)] = True
    return np.flatnonzero(found & (weights < FAR).any(axis=0))


def _runs(weights: Floats, rooms: Sequence[Room]) -> Floats:
    """Return (runs, nodes): the time that each run of handlers takes on each node, FAR where it wants too much."""
    runs = _sums(weights)
    for needs, free in rooms:
        runs[_sums(needs) > free] = FAR
    return runs


def _sums(values: Floats) -> Floats:
    """Return the sums over each interval of rows, and over each beginning with an end."""
    count = len(values)
    sums = np.vstack([np.zeros(values.shape[1]), np.cumsum(values, axis=0)])
    i, j = np.triu_indices(count + 1, 1)
    inner = (i > 0) & (j < count)
    return np.vstack([sums[j] - sums[i], sums[i[inner]] + sums[count] - sums[j[inner]]])


def _best_by_zone(nodes: Nodes, runs: Floats, spare: int) -> Ints:
    """Return the *spare* least of each run (rows) and zone, without those at FAR."""
    order = np.argsort(nodes.zone, kind="stable")
    zone = nodes.zone[order]
    edges = np.flatnonzero(np.diff(zone, prepend=-1))
    runs, found = runs[:, order], []
    for _ in range(spare):
        least = np.minimum.reduceat(runs, edges, axis=1)
        rows, columns = np.nonzero((runs == least[:, zone]) & (runs < FAR))
        first = np.flatnonzero(np.diff(rows * len(edges) + zone[columns], prepend=-1))  # of equals
        found.append(order[columns[first]])
        runs[rows[first], columns[first]] = FAR
    return np.concatenate(found)


def _smallest(row: Floats, count: int) -> Ints:
    found = np.argpartition(row, min(count, len(row) - 1))[:count]
    return found[row[found] < FAR]
