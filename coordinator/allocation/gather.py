"""Other placements to begin with where frames would come too late: all handlers on one node, the best of each zone."""

from collections.abc import Iterator

import numpy as np

from coordinator.allocation.arrays import Floats, Ints
from coordinator.allocation.paths import Paths
from coordinator.allocation.queueing import core_stretch
from coordinator.allocation.search import Chosen, Search

ZONES = 8  # looked at, those with the fastest nodes


def gathered(paths: Paths, nodes: Chosen) -> Iterator[Chosen]:
    """Yield *nodes* with all handlers that may gathered on one node: of each zone the one that is soonest done with
    them, as busy as it is then. Handlers with pins or replicas stay.
    """
    search, at = paths.search, paths.chosen
    free = [h for h in search.path if h not in search.request.pins and h not in search.request.replicas]
    if not free:
        return
    may = np.all([search.feasible[h][at] for h in free], axis=0)
    cost = np.where(may, _crowded_ms(search, free, at), np.inf)
    order = np.argsort(cost, kind="stable")
    zones = search.nodes.zone[at[order]]
    _, first = np.unique(zones, return_index=True)
    for i in order[np.sort(first)[:ZONES]].tolist():
        if may[i]:
            yield {**nodes, **dict.fromkeys(free, (int(at[i]),))}


def _crowded_ms(search: Search, handlers: list[int], at: Ints) -> Floats:
    """Return what *handlers* take on each of the nodes *at* with their own load added to what is there."""
    model = search.costs.model
    ms: Floats = np.sum([search.costs.costs[h].ms[at] for h in handlers], axis=0)
    cpus = model.nodes.cpus[at]
    own = (search.request.rate or 0.0) * ms / 1000
    crowded: Floats = ms * (1 + core_stretch(model.nodes.utilisation[at] + own / cpus, cpus))
    return crowded
