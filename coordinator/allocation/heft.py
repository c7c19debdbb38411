"""heft: Heterogeneous Earliest Finish Time (Topcuoglu, Hariri, Wu, IEEE TPDS 13(3), 2002), for one frame.

Handlers by upward rank (mean time + the dearest way from there to the end), each to the node where it finishes
earliest: after its inputs are there, and after what this session already has there, when no core is free for it.
"""

import numpy as np

from coordinator.allocation.arrays import Floats
from coordinator.allocation.base import Decision, Placement, Request, Snapshot
from coordinator.allocation.links import Load
from coordinator.allocation.search import Chosen, Search


class Heft:
    """A list scheduler: one pass, no way back. Good on graphs that fan out and join; blind to memory until a node is
    full, and to objectives other than the latency. O(links x nodes).
    """

    def allocate(self, request: Request, snapshot: Snapshot, current: Placement | None) -> Decision:
        """Place the first variant. Raises Unplaceable, with a reason per node."""
        search = Search(request, request.variants[0], snapshot, current)
        schedule = _Schedule(search)
        for handler in schedule.by_rank():
            schedule.put(handler)
        if search.short_mib(schedule.nodes) > 0:
            raise search.refuse(schedule.nodes)
        return search.decision(schedule.nodes, lambda h: f"finishes earliest there, {schedule.finish[h]:.0f} ms")


class _Schedule:
    """finish: handler -> ms after the frame came, of its slowest replica."""

    def __init__(self, search: Search) -> None:
        self._search, self._links = search, search.costs.model.links
        self._times = {h: np.where(search.feasible[h], search.times(h), np.inf) for h in search.order}
        self._free = search.nodes.mem_free.copy()
        self._busy: dict[int, list[float]] = {}  # node -> when each of this session's handlers there ends, ms
        self._all = np.arange(len(search.nodes), dtype=np.intp)
        self._latency, self._per_byte = self._links.matrices(self._all)
        self.nodes: Chosen = {}
        self.finish: dict[int, float] = {}

    def by_rank(self) -> list[int]:
        """Return the handlers, the highest upward rank first; equals in graph order, so inputs come before."""
        ranks: dict[int, float] = {}
        for handler in reversed(self._search.order):
            ways = [self._mean_send(load) + ranks[target] for target, load in self._out(handler)]
            times = self._times[handler]
            ranks[handler] = float(times[np.isfinite(times)].mean()) + max(ways, default=0.0)
        return sorted(self._search.order, key=lambda h: -ranks[h])

    def put(self, handler: int) -> None:
        """Place *handler* where it finishes earliest; its replicas on the next best nodes."""
        search = self._search
        finish = np.maximum(self._ready(handler), self._core_free()) + self._times[handler] + self._back(handler)
        finish = np.where(
            (self._free >= search.memory[handler]) & search.gpu_room(handler, self.nodes), finish, finish + 1e9
        )  # full: only where nothing else is
        chosen = [int(i) for i in np.argsort(finish, kind="stable")[: search.request.count(handler)]]
        self.nodes[handler] = tuple(chosen)
        self.finish[handler] = float(finish[chosen[-1]])
        for i in chosen:
            self._free[i] -= search.memory[handler]
            self._busy.setdefault(i, []).append(float(finish[i]))

    def _ready(self, handler: int) -> Floats:
        """Return for each node when the last input would be there, ms."""
        costs = self._search.costs
        ready: Floats = np.zeros(len(self._all))
        if handler == costs.entry and costs.input is not None and self._search.fixed_entry is not None:
            ready = ready + self._send(self._search.fixed_entry, costs.input)
        for source, load in costs.into[handler]:
            for i in self.nodes.get(source, ()):
                ready = np.maximum(ready, self.finish[source] + self._send(i, load))
        return ready

    def _back(self, handler: int) -> Floats:
        """Return for each node what sending an exit's result to the entry takes, ms."""
        costs = self._search.costs
        home = self._search.fixed_entry
        home = next(iter(self.nodes.get(costs.entry, ())), None) if home is None else home
        loads = [load for h, load in costs.exits if h == handler]
        if not loads or home is None:
            return np.zeros(len(self._all))
        cost: Floats = np.max([self._latency[:, home] + load.bytes * self._per_byte[:, home] for load in loads], axis=0)
        return cost

    def _core_free(self) -> Floats:
        """Return for each node when one of its cores is free of this session's handlers, ms."""
        free: Floats = np.zeros(len(self._all))
        for i, ends in self._busy.items():
            cores = max(1, int(self._search.nodes.cpus[i]))
            if len(ends) >= cores:
                free[i] = sorted(ends)[-cores]
        return free

    def _send(self, source: int, load: Load) -> Floats:
        cost: Floats = self._latency[source] + load.bytes * self._per_byte[source]
        return np.where(self._all == source, 0.0, cost + load.extra_ms)

    def _mean_send(self, load: Load) -> float:
        return float(self._latency.mean() + load.bytes * self._per_byte.mean())

    def _out(self, handler: int) -> list[tuple[int, Load]]:
        return [
            (h, load) for h in self._search.order for source, load in self._search.costs.into[h] if source == handler
        ]
