"""Which variant is placed next: as they are given, or by what each takes at least, where the algorithm can tell."""

from collections.abc import Sequence
from contextlib import suppress
from heapq import heappop, heappush
from math import inf
from typing import NamedTuple, Protocol, runtime_checkable

from coordinator.allocation.base import Algorithm, Placement, Request, Snapshot, Unplaceable
from coordinator.allocation.cost import model
from coordinator.allocation.shape import shape
from wire.messages import Minimize


class Bounds(NamedTuple):
    """Of a variant's latency, ms. least: no placement undercuts it; had: one that is known has it, or inf."""

    least: float
    had: float


NONE = Bounds(0.0, inf)


@runtime_checkable
class Bounding(Protocol):
    """An algorithm that can tell, at little cost, between what the latency of a variant lies."""

    def latency_bounds(
        self, request: Request, snapshot: Snapshot, current: Placement | None, below: float | None = None
    ) -> Bounds:
        """Return the bounds for the first variant; closer ones where *least* is under *below*. Raises Unplaceable."""


class Race:
    """The variants of a request, *asked* for one at a time.

    Where the shortest latency is wanted, and nobody wants to read of the others, the one with the lowest bound comes
    first, its bound is made closer before it is placed, and what cannot undercut another is not placed at all (best
    first, with bounds refined when they matter). slower: those left out, and what they take at least, ms.
    """

    def __init__(
        self, algorithm: Algorithm, asked: Sequence[Request], snapshot: Snapshot, current: Placement | None
    ) -> None:
        self._asked, self._snapshot, self._current = asked, snapshot, current
        self.slower: dict[str, float] = {}
        self._had, self._first = inf, -1  # ms that can be had, and the variant by which, before it is placed
        self._algorithm = algorithm if _wanted(asked) and isinstance(algorithm, Bounding) else None
        self._open: list[tuple[float, int, float | None]] = []  # least ms, position, below what that is a closer bound
        if self._algorithm is not None:  # their times, sooner at once
            model(snapshot).handlers([what for one in asked for what in shape(one.variants[0].topology).works])
        for i in range(len(asked)):
            heappush(self._open, (self._least(i, None), i, None))

    def next(self, soonest: float = inf) -> Request | None:
        """Return what is to be placed next. soonest: ms that can be had already."""
        if soonest < self._had:
            self._had, self._first = soonest, -1
        while self._open:
            least, i, below = heappop(self._open)
            if least > self._had and i != self._first:
                self.slower[self._asked[i].variants[0].variant_name] = least
            elif self._algorithm is None or below == self._had:
                return self._asked[i]
            else:
                asked = self._had
                heappush(self._open, (max(least, self._least(i, asked)), i, asked))
        return None

    def _least(self, i: int, below: float | None) -> float:
        """Return a lower bound; 0 for what cannot be placed, for placing it tells why."""
        least, had = NONE
        if self._algorithm is not None:
            with suppress(Unplaceable):
                least, had = self._algorithm.latency_bounds(self._asked[i], self._snapshot, self._current, below)
        if had < self._had:
            self._had, self._first = had, i
        return least


def _wanted(asked: Sequence[Request]) -> bool:
    one = asked[0] if len(asked) > 1 else None
    if one is None or one.explain:
        return False
    return one.objective.maximize is None and one.objective.minimize is Minimize.LATENCY
