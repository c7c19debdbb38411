"""Runs: handlers that follow each other along the graph on one node. They are the labels of the shortest path: what a
handler finds taken on a node, memory and cores, is what the run before it has taken there.

A handler that comes back to a node after another one has no label; what that takes is seen only when the placement
is looked at as a whole.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from coordinator.allocation.arrays import Floats, Ints
from coordinator.allocation.queueing import core_stretch

Run = tuple[int, ...]  # handler_ids, each fed by the one before
MOST = 16  # runs before a handler; where there would be more, only its inputs' own handlers are remembered


class Cores(NamedTuple):
    """What the crowding of cores follows from. ms, share: (handlers, nodes), of the path; share: cores kept busy;
    stretch: by how much longer work takes with what is there already.
    """

    ms: Floats
    share: Floats
    utilisation: Floats
    cpus: Floats
    stretch: Floats


class Runs:
    """Of one graph. A row for each handler and each run before it; those of a handler are neighbours.

    rows: handler -> its rows, the empty run first. joined: (source, target) -> for each run before the source, which
    of the target's runs that is with the source at its end; spans: the same, one after the other, or one for all.
    """

    def __init__(self, path: Sequence[int], fed_by: Mapping[int, Sequence[int]]) -> None:
        self.rows: dict[int, slice] = {}
        self.joined: dict[tuple[int, int], list[int]] = {}
        before: dict[int, list[Run]] = {}
        number: dict[Run, int] = {(): -1}  # of the row in which the run's last handler comes to the rest of it
        for handler in path:
            before[handler] = self._before(handler, fed_by[handler], before)
            first = len(number) - 1
            number.update({(*run, handler): first + i for i, run in enumerate(before[handler])})
            self.rows[handler] = slice(first, first + len(before[handler]))
        self.spans = {ends: slice(rows[0], rows[-1] + 1) for ends, rows in self.joined.items()}
        column = {h: i for i, h in enumerate(path)}
        runs = list(number)[1:]
        self.handler: Ints = np.array([column[run[-1]] for run in runs], np.intp)  # row -> position in the path
        self.members: Floats = np.array([[h in run for h in path] for run in runs], float)  # row -> who is there then
        self._shorter: Ints = np.array([number[run[:-1]] for run in runs], np.intp)
        self._pairs = np.nonzero(self.members)
        self._begins = np.searchsorted(self._pairs[0], np.arange(len(runs)))

    def _before(self, handler: int, sources: Sequence[int], before: Mapping[int, Sequence[Run]]) -> list[Run]:
        found: dict[Run, int] = {(): 0}
        for source in sources:
            longer = [(*run, source) for run in before[source]]
            if len(found) + len(longer) > MOST:
                longer = [(source,)] * len(longer)
            self.joined[source, handler] = [found.setdefault(run, len(found)) for run in longer]
        return list(found)

    def crowding(self, cores: Cores) -> Floats:
        """Return (rows, nodes): the ms by which the run's handlers wait longer for a core when the row's handler joins
        them, and it for them.
        """
        rows, handlers = self._pairs
        others = (self.members @ cores.share).take(rows, 0) - cores.share.take(handlers, 0)
        busy = cores.utilisation + np.maximum(others, 0.0) / cores.cpus
        more = np.maximum(core_stretch(busy, cores.cpus) - cores.stretch, 0.0)
        waits = np.add.reduceat(cores.ms.take(handlers, 0) * more, self._begins, axis=0)
        shorter = np.where((self._shorter >= 0)[:, None], waits.take(self._shorter, 0), 0.0)
        crowding: Floats = waits - shorter
        return crowding
