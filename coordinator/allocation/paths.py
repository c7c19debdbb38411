"""Shortest paths over handler x run x node: the lower bound and the placement that layered_dp begins with.

    to_go[h][run][n] = what h takes on n after that run + max over the handlers k that h feeds of the least of
                       to_go[k][run + h][n], staying there, and min over m != n of (send n -> m + to_go[k][()][m])

What h takes is its time, what the run and it wait longer for cores because of each other, and FAR where the run leaves
too little memory. So a path has the memory for each of its runs. Exact on a chain, unless it comes back to a node. At a
join the ways choose the common node apart, so it is a lower bound there; walking forward again makes them agree.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from coordinator.allocation.arrays import Floats, Ints
from coordinator.allocation.links import FAR, INPUT, Load
from coordinator.allocation.search import Chosen, Search

ToGo = Mapping[int, Floats]  # handler -> ms by run and node; (runs, nodes), or (entries, runs, nodes)
Times = Mapping[int, Floats]  # handler -> ms on each of the chosen nodes
ENTRIES = 24  # entry nodes tried where the way back matters; the bound ends it earlier nearly always
FIRST = 3  # of them that are tried at once in the beginning: mostly one of these is the best
NEAR = 12  # nodes kept for a handler on demand, the fastest
BLOCK = 40_000  # elements: so large may a matrix over entries and nodes be


class Ways(NamedTuple):
    """own: what each handler takes by run and node, FAR where it may not be; to_go: from there to the end."""

    own: ToGo
    to_go: ToGo


class Paths:
    """Of one variant on the *chosen* nodes (indices); `at` are positions among them.

    crowded: handlers of a run take cores from each other. of: paths over more nodes, whose matrices are used.
    """

    def __init__(self, search: Search, chosen: Ints, of: "Paths | None" = None, *, crowded: bool = False) -> None:
        self.search, self.chosen, self._of = search, chosen, of
        self._ways: dict[tuple[int, int], tuple[Floats, Floats]] = {}
        self._sends: dict[Load, tuple[Floats, Floats]] = {}
        self._kept: ToGo | None = None
        self.at = dict(zip(chosen.tolist(), range(len(chosen)), strict=True))
        shape = search.costs.shape
        self._runs, self.feeds, self.fed_by = shape.runs, shape.feeds, shape.fed_by
        self.loads = search.costs.loads
        self._none: Floats = np.zeros(len(chosen))
        self._weights = search.weights.take(chosen, 1)
        self.handlers = (*search.path, *search.demand)
        self.times = dict(zip(self.handlers, self._weights, strict=True))
        self._free = [resource.free.take(chosen) for resource in search.resources]
        if of is None:
            self._part: Ints = chosen
            self._needs = [resource.of(search.path, chosen) for resource in search.resources]
            self._full = self._without_room()
        else:
            self._part = np.searchsorted(of.chosen, chosen)
            self._needs = [need.take(self._part, 1) if need.shape[1] > 1 else need for need in of._needs]
            self._full = of._full.take(self._part, 1)
        self._more = self._full
        if crowded and search.request.rate is not None:
            self._more = self._full + self._runs.crowding(search.cores(chosen))

    def _without_room(self) -> Floats:
        """Return (rows, nodes): FAR where the run with the row's handler wants more than there is."""
        full = np.zeros((len(self._runs.handler), len(self.chosen)), bool)
        for need, free in zip(self._needs, self._free, strict=True):
            full |= self._runs.members @ need > free
        return FAR * full

    def _way(self, source: int, target: int) -> tuple[Floats, Floats]:
        """Return what _both() does, of the link between two handlers."""
        found = self._ways.get((source, target))
        if found is None:
            found = self._ways[source, target] = self._both(self.loads[source, target])
        return found

    def send(self, load: Load) -> Floats:
        """Return ms between the chosen nodes, sources in rows; 0 from a node to itself."""
        return self._both(load)[0]

    def _both(self, load: Load) -> tuple[Floats, Floats]:
        """Return send(), and its transpose with FAR from a node to itself."""
        if load not in self._sends:
            if self._of is None:
                self._sends[load] = self.search.costs.model.links.send(self.chosen, load)
            else:
                send, leave = self._of._both(load)
                part = self._part
                self._sends[load] = send.take(part, 0).take(part, 1), leave.take(part, 0).take(part, 1)
        return self._sends[load]

    def has(self, nodes: Chosen) -> bool:
        """Return True when the placement uses the chosen nodes only."""
        return all(n in self.at for places in nodes.values() for n in places)

    def floor(self) -> float:
        """Return a lower bound of the latency of any placement."""
        return float(self._bounds(self._onward()).min())

    def first(self) -> Chosen:
        """Return the placement that the lower bound is of, as far as walking forward finds it."""
        onward = self._onward()
        begin = self._begin(int(self._bounds(onward).argmin()))
        return self._walk(onward, begin, self._each, free=self._free)

    @cached_property
    def ways(self) -> Ways:
        """All that there are."""
        return Ways(self._each, self._onward())

    def barred(self, ways: Ways, handler: int, at: int) -> Ways:
        """Return the ways on which *handler* is not at that position."""
        own = {**ways.own, handler: ways.own[handler].copy()}
        own[handler][:, at] = FAR
        return Ways(own, self.to_go(own, self._home(), known=ways))

    def bound(self, ways: Ways) -> float:
        """Return a lower bound of their latency."""
        return float(self._bounds(ways.to_go).min())

    def best(self) -> tuple[Chosen, float]:
        """Return the placement with the least latency and a lower bound of it."""
        return self._best

    @cached_property
    def _best(self) -> tuple[Chosen, float]:
        return self.shortest(self.ways)

    def shortest(self, ways: Ways) -> tuple[Chosen, float]:
        """Return what best() does, of these ways."""
        bounds = self._bounds(ways.to_go)
        order: list[int] = np.argsort(bounds, kind="stable")[: ENTRIES + 1].tolist()
        nodes = self._walk(ways.to_go, self._begin(order[0]), ways.own)
        if self.search.fixed_entry is not None or self._returned(nodes):
            return nodes, float(bounds[order[0]])
        return self._returning(ways.own, bounds, order)

    def _returned(self, nodes: Chosen) -> bool:
        """Return True when there is no way back to go."""
        costs = self.search.costs
        return all(nodes[h] == nodes[costs.entry] for h, _ in costs.exits)

    def _returning(self, own: ToGo, bounds: Floats, order: Sequence[int]) -> tuple[Chosen, float]:
        """Return what best() does, of the entry nodes in *order*: *bounds* are without the way back."""
        first, size = self.search.costs.entry, FIRST
        best: tuple[ToGo, int] | None = None
        least, left = FAR * len(order), order[:ENTRIES]
        while left:
            block = left[:size]
            to_go = self.to_go(own, self._back(block))
            whole = to_go[first][range(len(block)), 0, block]
            at = int(whole.argmin())
            if whole[at] < least:
                least, best = float(whole[at]), ({h: f[at] for h, f in to_go.items()}, block[at])
            left = [entry for entry in left[size:] if bounds[entry] < least]
            size = max(1, BLOCK // len(self.chosen) ** 2)
        untried = float(bounds[order[-1]]) if len(order) > ENTRIES else FAR
        nodes = {} if best is None else self._walk(best[0], self._begin(best[1]), own)
        return nodes, min(least, untried)

    def _own(self, times: Times) -> ToGo:
        """Return for each handler of the path what it takes, by run and node."""
        runs, path = self._runs, self.search.path
        own = np.array([times[h] for h in path]).take(runs.handler, 0) + self._more
        return {h: own[rows] for h, rows in runs.rows.items()}

    @cached_property
    def _each(self) -> ToGo:
        """_own() of the times as they are."""
        return self._own(self.times)

    def _home(self) -> dict[int, Floats]:
        """Return the way back to the entry node where that is fixed."""
        fixed = self.search.fixed_entry
        return {} if fixed is None else {h: back[0] for h, back in self._back([self.at[fixed]]).items()}

    def _onward(self) -> ToGo:
        """Return to_go of the times as they are; kept."""
        if self._kept is None:
            self._kept = self.to_go(self._each, self._home())
        return self._kept

    def _bounds(self, onward: ToGo) -> Floats:
        """Return for each node of the entry handler the least latency."""
        bounds: Floats = onward[self.search.costs.entry][0]
        fixed = self.search.fixed_entry
        return bounds if fixed is None else self._arrive(self.at[fixed]) + bounds

    def _begin(self, at: int) -> Floats:
        """Return when the frame is at each node: at the entry node's when that is fixed, else at *at* only."""
        if self.search.fixed_entry is not None:
            return self._arrive(self.at[self.search.fixed_entry])
        begin = np.full(len(self.chosen), FAR)
        begin[at] = 0.0
        return begin

    def to_go(self, own: ToGo, back: Mapping[int, Floats], scale: float = 1, known: Ways | None = None) -> ToGo:
        """Return for each handler of the path the time from its beginning to the end, by its run and node.

        own: what each takes itself; back: exit -> ms of the way to the entry node, or to each of several (entries, 1,
        nodes); scale: weight of transfers; known: what holds with other *own*, where only some handlers' differ.
        """
        to_go, spans = dict[int, Floats](), self._runs.spans
        for handler in reversed(self.search.path):
            ahead = self.feeds[handler]
            if known and own[handler] is known.own[handler] and all(to_go[k] is known.to_go[k] for k in ahead):
                to_go[handler] = known.to_go[handler]
                continue
            rest = scale * back[handler] if handler in back else None
            for target in self.feeds[handler]:
                after, sends = to_go[target], self._leave(handler, target, scale)
                ways = np.minimum.reduce(sends + after[..., 0, :, None], axis=-2)[..., None, :]
                ways = np.minimum(ways, after[..., spans[handler, target], :])
                rest = ways if rest is None else np.maximum(rest, ways)
            to_go[handler] = own[handler] if rest is None else own[handler] + rest
        return to_go

    def _leave(self, source: int, target: int, scale: float) -> Floats:
        """Return what sending to another node takes, targets in rows; FAR to the node itself."""
        send, leave = self._way(source, target)
        if scale == 1:
            return leave
        sends = scale * send.T
        np.fill_diagonal(sends, FAR)
        return sends

    @cached_property
    def least(self) -> Floats:
        """For each node a lower bound of the latency of any placement whose path uses it."""
        search, ahead, to_go = self.search, dict[int, Floats](), self._onward()
        least = np.full(len(self.chosen), np.inf)
        for handler in search.path:
            arrive = self._none
            if handler == search.costs.entry and search.fixed_entry is not None:
                arrive = self._arrive(self.at[search.fixed_entry])
            for source in self.fed_by[handler]:
                sends = self._way(source, handler)[0]
                arrive = np.maximum(arrive, np.minimum.reduce(ahead[source][:, None] + sends, axis=0))
            least = np.minimum(least, arrive + to_go[handler][0])
            ahead[handler] = arrive + self.times[handler]
        return least

    def part(self, limit: float, few: int) -> tuple["Paths", float]:
        """Return the paths over nodes by which a latency up to *limit* can be had, *few* and those that cannot be
        missed at most; and what no placement over other nodes undercuts. Its runs crowd each other.
        """
        search = self.search
        order = np.argsort(self.least, kind="stable")
        beyond = float(self.least[order[few]]) if len(order) > few else np.inf
        kept = np.zeros(len(self.chosen), bool)
        kept[order[:few]] = self.least[order[:few]] <= limit
        kept[self._weights.argmin(axis=1)] = True
        if search.fixed_entry is not None:
            kept[self.at[search.fixed_entry]] = True
        for handler in search.demand:
            kept[np.argsort(self.times[handler], kind="stable")[:NEAR]] = True
        part = Paths(search, self.chosen[kept], self, crowded=True)
        return part, beyond if beyond <= limit else np.inf

    def weighed(self, times: Times, scale: float) -> Chosen:
        """Return the placement with the least sum of *times* (any weights) and *scale* x transfers along its paths."""
        entry = self.search.fixed_entry
        begin = np.zeros(len(self.chosen)) if entry is None else scale * self._arrive(self.at[entry])
        own = self._own(times)
        return self._walk(self.to_go(own, self._home(), scale), begin, own, scale, self._free)

    def near(self, handler: int, nodes: Chosen) -> Floats:
        """Return for each node the time of *handler* there with the transfers from and to its neighbours."""
        near: Floats = self.all_near(nodes)[self.handlers.index(handler)]
        return near

    def all_near(self, nodes: Chosen) -> Floats:
        """Return near() of each of the handlers."""
        near, row = self._weights.copy(), {h: i for i, h in enumerate(self.handlers)}
        for (source, target), load in self.loads.items():
            send = self.send(load)
            if source in nodes:
                near[row[target]] += send[self.at[nodes[source][0]]]
            if target in nodes:
                near[row[source]] += send[:, self.at[nodes[target][0]]]
        return near

    def _walk(self, to_go: ToGo, begin: Floats, own: ToGo, scale: float = 1, free: Sequence[Floats] = ()) -> Chosen:
        """Go forward: each handler to the node with the least time so far and to go. free: of each resource; is kept to
        by runs that come to one node, too.
        """
        search, joined, entry = self.search, self._runs.joined, self.search.costs.entry
        at, done, run = dict[int, int](), dict[int, float](), dict[int, int]()
        free = [np.array(f) for f in free]
        for column, handler in enumerate(search.path):
            ahead, rows = to_go[handler], dict[int, int]()  # rows: node -> the run that the handler would join there
            arrive = begin if handler == entry else None
            for source in self.fed_by[handler]:
                place = at[source]
                sends = self._way(source, handler)[0][place]
                ready = done[source] + (sends if scale == 1 else scale * sends)
                arrive = ready if arrive is None else np.maximum(arrive, ready)
                rows[place] = joined[source, handler][run[source]]
            if arrive is None:
                arrive = self._none
            whole = arrive + ahead[0]
            for node, row in rows.items():
                whole[node] = arrive.item(node) + ahead.item(row, node)
            for need, left in zip(self._needs, free, strict=False):
                whole = whole + FAR * (left < need[column])
            best = at[handler] = _least(whole, own[handler][0])
            row = run[handler] = rows.get(best, 0)
            done[handler] = arrive.item(best) + own[handler].item(row, best)
            for need, left in zip(self._needs, free, strict=False):
                left[best] -= need[column, best if need.shape[1] > 1 else 0]
        return {h: (int(self.chosen[n]),) for h, n in at.items()}

    def _back(self, entries: Sequence[int]) -> dict[int, Floats]:
        """Return for each exit the ms of the way back to each of the entry nodes, (entries, 1, nodes)."""
        back: dict[int, Floats] = {}
        for handler, load in self.search.costs.exits:
            sends = self.send(load)[:, entries].T[:, None, :]
            back[handler] = np.maximum(back[handler], sends) if handler in back else sends
        return back

    def _arrive(self, entry: int) -> Floats:
        return self.send(INPUT)[entry] if self.search.costs.input else np.zeros(len(self.chosen))


def _least(whole: Floats, own: Floats) -> int:
    """Return where *whole* is least, of the places that *own* allows; *whole* is nowhere less than *own*."""
    best = int(whole.argmin())
    return best if whole.item(best) < FAR else int(np.where(own < FAR, whole, np.inf).argmin())
