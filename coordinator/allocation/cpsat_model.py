"""The placement of sessions as a constraint program. Times are whole microseconds.

x[s, h, n]: handler h of session s runs on node n     level[n, k]: node n's load is at most LEVELS[k]
begin[s, h] >= begin + time + transfer of each input  time[s, h] >= what it takes on its node at that node's level
latency[s] >= end of each exit + the way back         least: the sum of the latencies (or cost, or energy, then these)
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from coordinator.allocation.links import Load
from coordinator.allocation.queueing import core_stretch
from coordinator.allocation.search import Chosen, Search
from wire.messages import Minimize

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.84, 0.88, 0.91, 0.94)  # of all cores
POOL = 12  # nodes that a handler may go to: the fastest, and those of the hints
US = 1000  # per ms
LONGEST = 3_600_000 * US
MILLICORES = 1000
PRICED = 1_000_000  # a price counts so much more than a microsecond, as a share of the whole

Index = tuple[int, int]  # session, handler


class Model:
    """cp: an empty ortools CpModel. All sessions see one snapshot."""

    def __init__(self, cp: Any, searches: Sequence[Search], hints: Sequence[Chosen]) -> None:
        self.cp, self._searches = cp, searches
        self._known = searches[0].costs.model
        self._x: dict[Index, dict[int, Any]] = {}
        self._begin: dict[Index, Any] = {}
        self._time: dict[Index, Any] = {}
        for s, (search, hint) in enumerate(zip(searches, hints, strict=True)):
            self._place(s, search, hint)
        self._level = {n: self._levels(n) for n in sorted({n for x in self._x.values() for n in x})}
        self._memory()
        self._gpus()
        latencies = [self._latency(s, search) for s, search in enumerate(searches)]
        cp.minimize(sum(latencies) + self._prices())

    def chosen(self, solver: Any) -> list[Chosen]:
        """Return the placements that *solver* found."""
        return [
            {h: tuple(n for n, x in self._x[s, h].items() if solver.value(x)) for h in search.order}
            for s, search in enumerate(self._searches)
        ]

    def _place(self, s: int, search: Search, hint: Chosen) -> None:
        for h in search.order:
            times = np.where(search.feasible[h], search.times(h), np.inf)
            near = [int(i) for i in np.argsort(times, kind="stable")[:POOL] if np.isfinite(times[i])]
            used = [n for places in hint.values() for n in places if search.feasible[h][n]]
            self._x[s, h] = {n: self.cp.new_bool_var(f"x{s},{h},{n}") for n in dict.fromkeys([*near, *used])}
            self.cp.add(sum(self._x[s, h].values()) == search.request.count(h))
            self._begin[s, h] = self.cp.new_int_var(0, LONGEST, f"b{s},{h}")
            self._time[s, h] = self.cp.new_int_var(0, LONGEST, f"t{s},{h}")
            for n, x in self._x[s, h].items():
                self.cp.add_hint(x, n in hint[h])

    def _share(self, s: int, h: int, n: int) -> float:
        """Return the cores that the handler keeps busy on that node."""
        search = self._searches[s]
        if search.request.rate is None or h not in search.costs.always:
            return 0.0
        return search.request.rate * float(search.costs.costs[h].ms[n]) / 1000 / search.request.count(h)

    def _levels(self, n: int) -> list[tuple[float, Any]]:
        """Return the node's possible loads (0-1) with their variables; one of them holds."""
        nodes = self._known.nodes
        cpus, base = float(nodes.cpus[n]), float(nodes.utilisation[n])
        above = [level for level in LEVELS if level > base]
        levels = [(level, self.cp.new_bool_var(f"l{n},{level}")) for level in [base, *above, np.inf]]
        self.cp.add_exactly_one([v for _, v in levels])
        taken = [round(MILLICORES * self._share(s, h, n)) * x[n] for (s, h), x in self._x.items() if n in x]
        for level, variable in levels:
            if np.isfinite(level):
                self.cp.add(sum(taken) <= round(MILLICORES * (level - base) * cpus)).only_enforce_if(variable)
        return levels

    def _memory(self) -> None:
        """Keep to what is free; a handler that stays needs no more."""
        free = self._known.nodes.mem_free
        for n in self._level:
            if np.isfinite(free[n]):
                wants = [
                    round(self._searches[s].memory[h]) * x[n]
                    for (s, h), x in self._x.items()
                    if n in x and not self._searches[s].stays(h, n)
                ]
                self.cp.add(sum(wants) <= int(free[n]))

    def _gpus(self) -> None:
        """Give each handler that wants a GPU one of its node's, and keep to what is free on each."""
        for n in self._level:
            free = self._known.nodes.views[n].gpus
            load: list[list[Any]] = [[] for _ in free]
            for (s, h), x in self._x.items():
                mib = self._searches[s].gpu.get(h, 0.0)
                if n not in x or not mib or self._searches[s].stays(h, n):
                    continue
                taken = [self.cp.new_bool_var(f"g{s},{h},{n},{g}") for g in range(len(free))]
                self.cp.add(sum(taken) == x[n])
                for g, one in enumerate(taken):
                    load[g].append(math.ceil(mib) * one)
            for mib_free, wants in zip(free, load, strict=True):
                if wants:
                    self.cp.add(sum(wants) <= int(mib_free))

    def _latency(self, s: int, search: Search) -> Any:
        for h in search.path:
            self._timed(s, h)
            self._after_inputs(s, h)
        latency = self.cp.new_int_var(0, LONGEST, f"latency{s}")
        for h, load in search.costs.exits:
            end = self._begin[s, h] + self._time[s, h]
            self.cp.add(latency >= end)
            for a, x in self._x[s, h].items():
                for b, home in self._homes(s).items():
                    self._if_both(latency >= end + self._send(a, b, load), x, home)
        return latency

    def _timed(self, s: int, h: int) -> None:
        search, nodes = self._searches[s], self._known.nodes
        for n, x in self._x[s, h].items():
            alone = float(search.times(h)[n])
            ms, cpus, own = float(search.costs.costs[h].ms[n]), float(nodes.cpus[n]), self._share(s, h, n)
            base = float(core_stretch(nodes.utilisation[n], nodes.cpus[n]))
            for level, variable in self._level[n]:
                others = max(float(nodes.utilisation[n]), level - own / cpus)
                crowd = ms * max(0.0, float(core_stretch(others, nodes.cpus[n])) - base)
                self._if_both(self._time[s, h] >= round(US * (alone + crowd)), x, variable)

    def _after_inputs(self, s: int, h: int) -> None:
        costs, begin = self._searches[s].costs, self._begin[s, h]
        if h == costs.entry and costs.input is not None:
            for a, home in self._homes(s).items():
                for b, x in self._x[s, h].items():
                    self._if_both(begin >= self._send(a, b, costs.input), home, x)
        for source, load in costs.into[h]:
            end = self._begin[s, source] + self._time[s, source]
            self.cp.add(begin >= end)
            for a, from_ in self._x[s, source].items():
                for b, to in self._x[s, h].items():
                    self._if_both(begin >= end + self._send(a, b, load), from_, to)

    def _homes(self, s: int) -> dict[int, Any]:
        """Return where the entry may be, with what makes it be there: True, or the entry handler's variable."""
        search = self._searches[s]
        return self._x[s, search.costs.entry] if search.fixed_entry is None else {search.fixed_entry: True}

    def _if_both(self, constraint: Any, a: Any, b: Any) -> None:
        self.cp.add(constraint).only_enforce_if([v for v in (a, b) if v is not True])

    def _send(self, source: int, target: int, load: Load) -> int:
        return round(US * self._known.links.cost(source, target, load))

    def _prices(self) -> Any:
        """Return cost or energy where that is to be least, weighed above all latencies."""
        terms = []
        for s, search in enumerate(self._searches):
            per_ms = {Minimize.COST: search.nodes.price, Minimize.ENERGY: search.nodes.joules}
            price = per_ms.get(search.request.objective.minimize or Minimize.LATENCY)
            if price is not None:
                whole = {h: search.costs.costs[h].ms * price for h in search.path}
                most = max(float(v[n]) for h, v in whole.items() for n in self._x[s, h]) or 1.0
                terms += [
                    round(PRICED * 1000 * float(whole[h][n]) / most / search.request.count(h)) * x
                    for h in search.path for n, x in self._x[s, h].items()
                ]  # fmt: skip
        return sum(terms)
