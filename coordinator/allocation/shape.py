"""What of a variant's graph the cost model and the search go by; made once per graph."""

from functools import lru_cache

from coordinator.allocation.base import work
from coordinator.allocation.runs import Runs
from wire.graph import Topology
from wire.messages import Link, ResultSpec

KEPT = 256  # graphs: more than a coordinator has services


class Shape:
    """needed: the handlers, in order, that every frame passes; demand: the others.

    fed_by: handler -> those that feed it. feeds: handler -> those needed that it feeds. into: its links. works: of each
    handler, in order.
    """

    def __init__(self, topology: Topology) -> None:
        order = topology.order
        self.works = [work(topology.handlers[h]) for h in order]
        self.needed = list(topology.always)
        self.always = frozenset(self.needed)
        self.exits: list[ResultSpec] = [e for e in topology.exits if not e.on_demand]
        self.into: dict[int, list[Link]] = {h: topology.links_to(h) for h in order}
        self.fed_by = {h: list(dict.fromkeys(k.source_handler for k in self.into[h])) for h in order}
        self.demand = [h for h in order if h not in self.always]
        self.feeds = {h: [k for k in self.needed if h in self.fed_by[k]] for h in order}
        self.runs = Runs(self.needed, self.fed_by)


@lru_cache(KEPT)
def shape(topology: Topology) -> Shape:
    """Return the graph's shape."""
    return Shape(topology)
