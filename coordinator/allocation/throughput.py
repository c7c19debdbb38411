"""throughput: the most frames/s: the narrowest place is widened, by moving handlers apart and by replicas."""

import msgspec
import numpy as np

from coordinator.allocation.base import Decision, Placement, Request, Snapshot
from coordinator.allocation.layered_dp import solve
from coordinator.allocation.search import Chosen, Search
from wire.messages import Maximize

MORE = 1.05  # a replica must bring so much
ENOUGH = 1.1  # of min_fps: more is not needed
REPLICAS, TRIED = 8, 12  # of a handler at most; nodes that a new one tries


class Throughput:
    """Partitions the graph so that its bottleneck (a handler, a node's cores, a link) is widest, then replicates the
    handler that is the bottleneck while that brings 5 % or until min_fps is met. O(replicas x handlers x nodes tried).
    """

    def allocate(self, request: Request, snapshot: Snapshot, current: Placement | None) -> Decision:
        """Place the first variant. Raises Unplaceable, with a reason per node."""
        objective = msgspec.structs.replace(request.objective, maximize=Maximize.THROUGHPUT, minimize=None)
        asked = msgspec.structs.replace(request, objective=objective)
        search = Search(asked, request.variants[0], snapshot, current)
        nodes = solve(search)
        if search.short_mib(nodes) > 0:
            raise search.refuse(nodes)
        nodes = _replicated(search, nodes)
        return search.decision(nodes, lambda h: _why(request, h, len(nodes[h])))


def _replicated(search: Search, nodes: Chosen) -> Chosen:
    """Add replicas, each where it widens the bottleneck most."""
    fps, least = _fps(search, nodes), search.request.objective.min_fps
    while least is None or fps < least * ENOUGH:
        found = [moved for h in _bottlenecks(search, nodes) for moved in _wider(search, nodes, h)]
        best = max(found, key=lambda moved: _fps(search, moved), default=None)
        if best is None or _fps(search, best) < fps * MORE:
            break
        nodes, fps = best, _fps(search, best)
    return nodes


def _bottlenecks(search: Search, nodes: Chosen) -> list[int]:
    """Return the handlers that may be replicated, the slowest first, as far as they are near the slowest."""
    times = {h: _ms(search, nodes, h) for h in search.path}
    slowest = max(times.values(), default=0.0)
    return [h for h in sorted(times, key=lambda h: -times[h]) if times[h] > slowest / MORE and _may(search, nodes, h)]


def _may(search: Search, nodes: Chosen, handler: int) -> bool:
    view = search.types.get(search.variant.topology.handlers[handler].handler_type)
    asked = handler in search.request.replicas or handler in search.request.pins
    return not asked and len(nodes[handler]) < REPLICAS and not (view is not None and view.stateful)


def _wider(search: Search, nodes: Chosen, handler: int) -> list[Chosen]:
    """Return the placements with a replica more, each on another of the nodes where it computes soonest."""
    places = nodes[handler]
    order = np.argsort(np.where(search.feasible[handler], search.times(handler), np.inf), kind="stable")
    free = [int(i) for i in order if i not in places and search.feasible[handler][i]][:TRIED]
    moved = [{**nodes, handler: (*places, i)} for i in free]
    return [m for m in moved if search.short_mib(m) == 0]


def _ms(search: Search, nodes: Chosen, handler: int) -> float:
    times = [float(search.costs.costs[handler].ms[n]) for n in nodes[handler]]
    return sum(times) / len(times) ** 2


def _fps(search: Search, nodes: Chosen) -> float:
    return search.outcome(nodes).fps or 0.0


def _why(request: Request, handler: int, replicas: int) -> str:
    if request.pins.get(handler):
        return "pinned"
    return "best predicted throughput" + (f": a bottleneck, {replicas} replicas" if replicas > 1 else "")
