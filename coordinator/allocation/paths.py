"""Shortest paths over handler x node: the lower bound and the placement that layered_dp begins with.

    to_go[h][n] = time of h on n + max over the handlers k that h feeds: min over m of (send n -> m + to_go[k][m])

Exact on a chain. At a join the two ways choose the common node apart, so it is a lower bound there; walking forward
again makes them agree.
"""

from collections.abc import Callable, Mapping

import numpy as np

from coordinator.allocation.arrays import Floats, Ints
from coordinator.allocation.candidates import FAR
from coordinator.allocation.links import INPUT, Load, load_of
from coordinator.allocation.search import Chosen, Search

ToGo = dict[int, Floats]
ENTRIES = 24  # entry nodes tried where the way back matters; the bound ends it earlier nearly always


class Paths:
    """Of one variant on the *chosen* nodes (indices); `at` are positions among them."""

    def __init__(self, search: Search, chosen: Ints) -> None:
        self.search, self.chosen = search, chosen
        self._ms, self._per_byte = search.costs.model.links.matrices(chosen)
        self._sends: dict[Load, Floats] = {}
        self.times = {h: np.where(search.feasible[h][chosen], search.times(h)[chosen], FAR) for h in search.order}
        topology, variant = search.variant.topology, search.variant
        self.loads = {
            (k.source_handler, k.target_handler): load_of(variant, k, search.snapshot) for k in topology.graph.links
        }
        self.feeds = {h: [k for s, k in self.loads if s == h and k in search.costs.always] for h in search.order}
        self.fed_by = {h: [s for s, k in self.loads if k == h] for h in search.order}
        self.at = {int(n): i for i, n in enumerate(chosen)}

    def send(self, load: Load) -> Floats:
        """Return ms between the chosen nodes, sources in rows."""
        if load not in self._sends:
            sends = self._ms + load.bytes * self._per_byte + load.extra_ms
            np.fill_diagonal(sends, 0.0)
            self._sends[load] = sends
        return self._sends[load]

    def best(self) -> tuple[Chosen, float]:
        """Return the placement with the least latency and a lower bound of it; memory and crowding left out."""
        search, first = self.search, self.search.costs.entry
        if search.fixed_entry is not None:
            entry = self.at[search.fixed_entry]
            to_go = self.to_go(self._back(entry))
            begin = self._arrive(entry)
            return self._walk(to_go, begin), float((begin + to_go[first]).min())
        bounds = self.to_go({})[first]
        best: tuple[Chosen, float] | None = None
        for at in np.argsort(bounds, kind="stable")[:ENTRIES]:
            if best is not None and bounds[at] >= best[1]:
                break
            to_go = self.to_go(self._back(int(at)))
            total = float(to_go[first][at])
            if best is None or total < best[1]:
                best = self._walk(to_go, np.where(np.arange(len(self.chosen)) == at, 0.0, FAR)), total
        if best is None:
            raise ValueError("no nodes")
        return best

    def to_go(self, back: Mapping[int, Floats], weigh: Callable[[int], Floats] | None = None, scale: float = 1) -> ToGo:
        """Return for each handler of the path the time from its beginning to the end, by its node.

        back: exit -> ms of the way to the entry node; weigh, scale: other weights than ms, for other objectives.
        """
        to_go: ToGo = {}
        for handler in reversed(self.search.path):
            rest = scale * back[handler] if handler in back else np.zeros(len(self.chosen))
            for target in self.feeds[handler]:
                sends = scale * self.send(self.loads[handler, target])
                rest = np.maximum(rest, (sends + to_go[target]).min(axis=1))
            to_go[handler] = (weigh(handler) if weigh else self.times[handler]) + rest
        return to_go

    def weighed(self, weigh: Callable[[int], Floats], scale: float) -> Chosen:
        """Return the placement with the least sum of *weigh* and *scale* x transfers along its paths."""
        entry = self.search.fixed_entry
        back = {} if entry is None else self._back(self.at[entry])
        begin = np.zeros(len(self.chosen)) if entry is None else scale * self._arrive(self.at[entry])
        return self._walk(self.to_go(back, weigh, scale), begin, weigh, scale)

    def near(self, handler: int, nodes: Chosen) -> Floats:
        """Return for each node the time of *handler* there with the transfers from and to its neighbours."""
        total: Floats = self.times[handler].copy()
        for (source, target), load in self.loads.items():
            if target == handler and source in nodes:
                total += self.send(load)[self.at[nodes[source][0]]]
            elif source == handler and target in nodes:
                total += self.send(load)[:, self.at[nodes[target][0]]]
        return total

    def _walk(
        self, to_go: ToGo, begin: Floats, weigh: Callable[[int], Floats] | None = None, scale: float = 1
    ) -> Chosen:
        """Go forward: each handler to the node with the least time so far and to go."""
        search, done, nodes = self.search, dict[int, float](), dict[int, int]()
        for handler in search.path:
            arrive = begin if handler == search.costs.entry else np.zeros(len(self.chosen))
            for source in self.fed_by[handler]:
                arrive = np.maximum(
                    arrive, done[source] + scale * self.send(self.loads[source, handler])[nodes[source]]
                )
            nodes[handler] = int((arrive + to_go[handler]).argmin())
            own = weigh(handler) if weigh else self.times[handler]
            done[handler] = float(arrive[nodes[handler]] + own[nodes[handler]])
        return {h: (int(self.chosen[at]),) for h, at in nodes.items()}

    def _back(self, entry: int) -> dict[int, Floats]:
        back: dict[int, Floats] = {}
        for handler, load in self.search.costs.exits:
            back[handler] = np.maximum(back.get(handler, 0.0), self.send(load)[:, entry])
        return back

    def _arrive(self, entry: int) -> Floats:
        return self.send(INPUT)[entry] if self.search.costs.input else np.zeros(len(self.chosen))
