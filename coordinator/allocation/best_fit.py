"""best_fit: the biggest handler first, each to the node where the least stays free: few nodes, well filled."""

from coordinator.allocation.base import Decision, Placement, Request, Snapshot
from coordinator.allocation.search import Chosen, Search

LATENCY_CORES = 1.0  # a session without a rate keeps one core busy in all, shared by service times


class BestFit:
    """Packs by two sizes, cores and memory, as shares of what is free (best fit decreasing; vector packing by the
    l2 norm, Panigrahy et al. 2011). Blind to links. O(handlers x nodes).
    """

    def allocate(self, request: Request, snapshot: Snapshot, current: Placement | None) -> Decision:
        """Place the first variant. Raises Unplaceable, with a reason per node."""
        search = Search(request, request.variants[0], snapshot, current)
        packing = _Packing(search)
        for handler in sorted(search.order, key=lambda h: (-packing.size(h), h)):
            packing.put(handler)
        if search.short_mib(packing.nodes) > 0:
            raise search.refuse(packing.nodes)
        return search.decision(packing.nodes, lambda h: packing.why[h])


class _Packing:
    def __init__(self, search: Search) -> None:
        self._search = search
        self.nodes: Chosen = {}
        self.why: dict[int, str] = {}
        model = search.costs.model
        self._cores = model.free_cores.copy()
        self._mib = search.nodes.mem_free.copy()
        always = search.costs.always
        self._ms = {h: float(search.times(h).min()) if h in always else 0.0 for h in search.order}
        self._whole = sum(self._ms.values()) or 1.0

    def cores(self, handler: int) -> float:
        """Return how many cores each replica keeps busy."""
        rate, replicas = self._search.request.rate, self._search.request.count(handler)
        cores = LATENCY_CORES * self._ms[handler] / self._whole if rate is None else rate * self._ms[handler] / 1000
        return cores / replicas

    def size(self, handler: int) -> float:
        """Return the handler's larger share of the largest node."""
        mib = max((float(m) for m in self._search.nodes.mem_free if m != float("inf")), default=1.0) or 1.0
        return max(self.cores(handler) / float(self._search.nodes.cpus.max()), self._search.memory[handler] / mib)

    def put(self, handler: int) -> None:
        """Place the handler on the nodes where it fits best, those that are too small for it last."""
        fits = [i for i in range(len(self._search.nodes)) if self._search.feasible[handler][i]]
        room = self._search.gpu_room(handler, self.nodes)
        chosen = sorted(fits, key=lambda i: (not room[i], *self._left(handler, i), i))[
            : self._search.request.count(handler)
        ]
        for i in chosen:
            self._cores[i] -= self.cores(handler)
            self._mib[i] -= self._search.memory[handler]
        self.nodes[handler] = tuple(chosen)
        pinned = bool(self._search.request.pins.get(handler))
        left = ", ".join(f"{float(self._cores[i]):.2g} cores" for i in chosen)
        self.why[handler] = "pinned" if pinned else f"fits best: {left} stay free"

    def _left(self, handler: int, i: int) -> tuple[float, float]:
        """Return what is missing, then what stays free: the squared norm of the shares of cores and memory."""
        nodes, free = self._search.nodes, self._search.nodes.mem_free
        cores = (float(self._cores[i]) - self.cores(handler)) / float(nodes.cpus[i])
        known = free[i] not in (0.0, float("inf"))
        mib = (float(self._mib[i]) - self._search.memory[handler]) / float(free[i]) if known else 0.0
        return max(0.0, -cores) + 1e3 * max(0.0, -mib), cores * cores + mib * mib
