"""Links between nodes: a latency, and a bandwidth that frames use one after the other.

A send takes the line's queue, then bytes / bandwidth, then the latency; the sender has its answer one latency later,
and waits for it, as the product's handlers do. On one node nothing is sent (shared memory).
"""

from collections.abc import Mapping
from typing import NamedTuple

from simulator.loop import Loop


class Line(NamedTuple):
    """Of a pair of zones. latency_s: one way."""

    latency_s: float
    s_per_byte: float


LOCAL, REMOTE = Line(0.00025, 1 / 100e6), Line(0.005, 1 / 10e6)  # coordinator.allocation.links has what is assumed


class Sent(NamedTuple):
    """When a frame is there, and when the sender knows it."""

    there: float
    answered: float


class Network:
    """zones: of each node; lines: (zone, zone) -> line, in both directions."""

    def __init__(self, loop: Loop, zones: Mapping[int, str], lines: Mapping[tuple[str, str], Line]) -> None:
        self._loop, self._zones, self._lines = loop, zones, lines
        self._pairs: dict[tuple[int, int], Line] = {}
        self._free: dict[tuple[int, int], float] = {}  # (from, to) -> s, when the line is free
        self.sums: dict[tuple[int, int], list[float]] = {}  # frames, bytes, ms, bytes², bytes·ms: as link_info has them

    def line(self, source: int, target: int) -> Line:
        """Return the line from node to node."""
        pair = (source, target)
        if pair not in self._pairs:
            a, b = self._zones[source], self._zones[target]
            known = self._lines.get((a, b)) or self._lines.get((b, a))
            self._pairs[pair] = known or (LOCAL if a == b else REMOTE)
        return self._pairs[pair]

    def send(self, source: int, target: int, size: float, begin: float) -> Sent:
        """Send *size* bytes, beginning at *begin* (s, not before now)."""
        if source == target:
            return Sent(begin, begin)
        pair = (source, target)
        line = self._pairs.get(pair) or self.line(source, target)
        sent = max(begin, self._free.get(pair, 0.0)) + size * line.s_per_byte
        self._free[pair] = sent
        there = sent + line.latency_s
        answered = there + line.latency_s
        self._count(pair, size, (answered - begin) * 1000)
        return Sent(there, answered)

    def _count(self, pair: tuple[int, int], size: float, ms: float) -> None:
        sums = self.sums.get(pair)
        if sums is None:
            sums = self.sums[pair] = [0.0] * 5
        sums[0] += 1
        sums[1] += size
        sums[2] += ms
        sums[3] += size * size
        sums[4] += size * ms
