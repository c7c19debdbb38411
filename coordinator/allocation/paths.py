"""Shortest paths over handler x node: the lower bound and the placement that layered_dp begins with.

    to_go[h][n] = time of h on n + max over the handlers k that h feeds: min over m of (send n -> m + to_go[k][m])

Exact on a chain. At a join the two ways choose the common node apart, so it is a lower bound there; walking forward
again makes them agree.
"""

from collections.abc import Mapping

import numpy as np

from coordinator.allocation.arrays import Floats, Ints
from coordinator.allocation.candidates import FAR
from coordinator.allocation.links import INPUT, Load, load_of
from coordinator.allocation.search import Chosen, Search

ToGo = dict[int, Floats]
Times = Mapping[int, Floats]  # handler -> ms on each of the chosen nodes
ENTRIES = 24  # entry nodes tried where the way back matters; the bound ends it earlier nearly always


class Paths:
    """Of one variant on the *chosen* nodes (indices); `at` are positions among them."""

    def __init__(self, search: Search, chosen: Ints) -> None:
        self.search, self.chosen = search, chosen
        self._links = search.costs.model.links
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
            self._sends[load] = self._links.send(self.chosen, load)
        return self._sends[load]

    def best(self, times: Times | None = None) -> tuple[Chosen, float]:
        """Return the placement with the least latency and a lower bound of it; memory and crowding left out.

        times: other than self.times, where some places are barred.
        """
        search, times = self.search, times or self.times
        first = search.costs.entry
        if search.fixed_entry is not None:
            entry = self.at[search.fixed_entry]
            to_go, begin = self.to_go(times, self._back(entry)), self._arrive(entry)
            return self._walk(to_go, begin, times), float((begin + to_go[first]).min())
        without = self.to_go(times, {})
        bounds = without[first]
        order: list[int] = np.argsort(bounds, kind="stable")[: ENTRIES + 1].tolist()
        best = self._from(order[0], without, times)
        for at in order[1:ENTRIES]:
            if bounds[at] >= best[1]:
                return best
            best = min(best, self._from(at, without, times), key=lambda found: found[1])
        untried = float(bounds[order[-1]]) if len(order) > ENTRIES else FAR
        return best[0], min(best[1], untried)

    def _from(self, at: int, without: ToGo, times: Times) -> tuple[Chosen, float]:
        """Return the best placement whose entry is at that node. without: to_go with no way back."""
        begin = np.full(len(self.chosen), FAR)
        begin[at] = 0.0
        first = self.search.costs.entry
        nodes = self._walk(without, begin, times)
        if all(nodes[h] == nodes[first] for h, _ in self.search.costs.exits):  # there is no way back to go
            return nodes, float(without[first][at])
        to_go = self.to_go(times, self._back(at))
        return self._walk(to_go, begin, times), float(to_go[first][at])

    def to_go(self, times: Times, back: Mapping[int, Floats], scale: float = 1) -> ToGo:
        """Return for each handler of the path the time from its beginning to the end, by its node.

        times: of each handler; back: exit -> ms of the way to the entry node; scale: weight of transfers.
        """
        to_go: ToGo = {}
        for handler in reversed(self.search.path):
            rest = scale * back[handler] if handler in back else None
            for target in self.feeds[handler]:
                sends = self.send(self.loads[handler, target])
                ways = sends + to_go[target] if scale == 1 else scale * sends + to_go[target]
                least = ways.min(axis=1)
                rest = least if rest is None else np.maximum(rest, least)
            to_go[handler] = times[handler] if rest is None else times[handler] + rest
        return to_go

    def within(self, limit: float) -> Ints:
        """Return the positions of the nodes that any placement with a latency up to *limit* may use on its path."""
        search, ahead, to_go = self.search, dict[int, Floats](), self.to_go(self.times, {})
        kept = np.zeros(len(self.chosen), bool)
        for handler in search.path:
            arrive: Floats = np.zeros(len(self.chosen))
            for source in self.fed_by[handler]:
                sends = self.send(self.loads[source, handler])
                arrive = np.maximum(arrive, (ahead[source] + sends.T).min(axis=1))
            kept |= arrive + to_go[handler] <= limit
            ahead[handler] = arrive + self.times[handler]
        return np.flatnonzero(kept)

    def weighed(self, times: Times, scale: float) -> Chosen:
        """Return the placement with the least sum of *times* (any weights) and *scale* x transfers along its paths."""
        entry = self.search.fixed_entry
        back = {} if entry is None else self._back(self.at[entry])
        begin = np.zeros(len(self.chosen)) if entry is None else scale * self._arrive(self.at[entry])
        return self._walk(self.to_go(times, back, scale), begin, times, scale)

    def near(self, handler: int, nodes: Chosen) -> Floats:
        """Return for each node the time of *handler* there with the transfers from and to its neighbours."""
        total: Floats = self.times[handler].copy()
        for (source, target), load in self.loads.items():
            if target == handler and source in nodes:
                total += self.send(load)[self.at[nodes[source][0]]]
            elif source == handler and target in nodes:
                total += self.send(load)[:, self.at[nodes[target][0]]]
        return total

    def roomy(self, entry: int) -> Chosen:
        """Return a placement whose memory is there, if walking so finds one: each handler, in order, to the node with
        the least time so far and to go among those that have room left. entry: index of the node that begins.
        """
        to_go = self.to_go(self.times, self._back(self.at[entry]))
        begin = self._arrive(self.at[entry])
        return self._walk(to_go, begin, self.times, room=self.search.nodes.mem_free[self.chosen])

    def _walk(self, to_go: ToGo, begin: Floats, times: Times, scale: float = 1, room: Floats | None = None) -> Chosen:
        """Go forward: each handler to the node with the least time so far and to go. room: MiB, counted down."""
        search, done, nodes = self.search, dict[int, float](), dict[int, int]()
        room = None if room is None else room.copy()
        for handler in search.path:
            arrive: Floats | float = begin if handler == search.costs.entry else 0.0
            for source in self.fed_by[handler]:
                sends = self.send(self.loads[source, handler])[nodes[source]]
                arrive = np.maximum(arrive, done[source] + scale * sends)
            there = arrive + times[handler]
            whole = arrive + to_go[handler]
            if room is not None:
                whole = whole + FAR * (room < search.memory[handler])
            nodes[handler] = int(whole.argmin())
            if room is not None:
                room[nodes[handler]] -= search.memory[handler]
            done[handler] = float(there[nodes[handler]])
        return {h: (int(self.chosen[at]),) for h, at in nodes.items()}

    def _back(self, entry: int) -> dict[int, Floats]:
        back: dict[int, Floats] = {}
        for handler, load in self.search.costs.exits:
            back[handler] = np.maximum(back.get(handler, 0.0), self.send(load)[:, entry])
        return back

    def _arrive(self, entry: int) -> Floats:
        return self.send(INPUT)[entry] if self.search.costs.input else np.zeros(len(self.chosen))
