"""What a placement gives. The latency is known at once, for placements are mostly compared by it; the rest is computed
when it is asked for.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from coordinator.allocation.arrays import Floats, Nodes
from coordinator.allocation.links import LinkCosts, Load

Assignment = Mapping[int, Sequence[int]]  # handler_id -> indices of nodes


class HandlerCost(NamedTuple):
    """Of one handler on each node. wait_ms: for a core, because of what ran there before."""

    ms: Floats
    confidence: Floats
    wait_ms: Floats


class Parts(NamedTuple):
    """A time in ms, and what it is made of."""

    total: float = 0.0
    compute: float = 0.0
    wait: float = 0.0
    transfer: float = 0.0


class Figures(NamedTuple):
    """What the rest follows from. needed: the handlers that every frame passes; into: handler -> its sources, with what
    they send.
    """

    needed: Sequence[int]
    costs: Mapping[int, HandlerCost]
    into: Mapping[int, Sequence[tuple[int, Load]]]
    nodes: Nodes
    links: LinkCosts
    free_cores: Floats


class Outcome:
    """all_ms: the latency with the branches on demand."""

    def __init__(self, figures: Figures, nodes: Assignment, latency: Parts, all_ms: float) -> None:
        self._figures, self._nodes = figures, dict(nodes)
        self.latency, self.all_ms = latency, all_ms

    @cached_property
    def fps(self) -> float | None:
        """Frames/s of the narrowest place: a handler's processes, a node's free cores, or a link."""
        of, ms_per_frame, busy = self._figures, 0.0, dict[int, float]()
        for handler in of.needed:
            places = self._nodes[handler]
            times = [float(of.costs[handler].ms[n]) for n in places]
            ms_per_frame = max(ms_per_frame, sum(times) / len(times) ** 2)
            for n, ms in zip(places, times, strict=True):
                busy[n] = busy.get(n, 0.0) + ms / len(places)
        for n, ms in busy.items():
            ms_per_frame = max(ms_per_frame, ms / float(of.free_cores[n]))
        for handler in of.needed:
            for source, load in of.into[handler]:
                ms_per_frame = max(ms_per_frame, of.links.occupied(self._nodes[source], self._nodes[handler], load))
        return 1000 / ms_per_frame if ms_per_frame else None

    @cached_property
    def cost(self) -> float:
        """Of 1,000 frames."""
        return self._sum(self._figures.nodes.price)

    @cached_property
    def joules(self) -> float:
        """Per frame."""
        return self._sum(self._figures.nodes.joules)

    @cached_property
    def confidences(self) -> tuple[float, ...]:
        """Of each time that the latency is made of, 0-1."""
        of = self._figures
        return tuple(float(of.costs[h].confidence[n]) for h in of.needed for n in self._nodes[h])

    def _sum(self, per_ms: Floats) -> float:
        """Return the sum of the frame's service times, each weighed by *per_ms* of its node."""
        of = self._figures
        parts = ([float(of.costs[h].ms[n]) * float(per_ms[n]) for n in self._nodes[h]] for h in of.needed)
        return sum(sum(part) / len(part) for part in parts)
