"""What getting a frame from one node to another costs: measured where it was, else by zone.

transfer = latency + bytes / bandwidth (+ JPEG coding where the link asks for it); 0 on one node (shared memory).
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from typing import NamedTuple

import numpy as np

from coordinator.allocation.arrays import Floats, Ints, Nodes
from coordinator.allocation.base import LinkView, Snapshot, Variant
from wire.messages import Encoding, Link

SAME_ZONE = LinkView(latency_ms=0.5, bytes_per_s=100e6)  # 1 Gbit/s Ethernet with its overhead
OTHER_ZONE = LinkView(latency_ms=10.0, bytes_per_s=10e6)  # a wide-area or wireless link of 100 Mbit/s
JPEG_BYTES = 60_000  # VGA, quality 80
TYPE_BYTES = {"Image": 921_600, "Encoded": JPEG_BYTES, "Boxes": 2_000, "any": JPEG_BYTES}  # VGA: 640 x 480 x 3
FAR = 1e12  # ms: not possible
JPEG_MS = 2.3  # coding (1.0) and decoding (1.3) a VGA picture on a hop with "encoding": "jpeg"


class Load(NamedTuple):
    """What a link carries per frame."""

    bytes: float
    extra_ms: float = 0.0  # coding


INPUT = Load(JPEG_BYTES)  # what a client posts


class Within(NamedTuple):
    """What of the links lies within some chosen nodes. zone: of each node; sources, targets: positions of the measured
    pairs; measured: their indices.
    """

    zone: Ints
    sources: Ints
    targets: Ints
    measured: Ints


class LinkCosts:
    """Latency (ms) and ms per byte between nodes. The matrices by zone hold where a pair was not measured."""

    def __init__(self, nodes: Nodes, snapshot: Snapshot) -> None:
        self._zone = nodes.zone
        self._pairs = _between(nodes, snapshot)  # those measured, later those that were asked for, too
        self._ends: Ints = np.fromiter(chain.from_iterable(self._pairs), np.intp).reshape(-1, 2).T  # sources, targets
        self._ms, self._per_byte = np.fromiter(chain.from_iterable(self._pairs.values()), float).reshape(-1, 2).T
        self._within: tuple[bytes, Within] | None = None
        self._sends: dict[Load, tuple[Floats, Floats]] = {}
        count = len(nodes.zones)
        same = np.eye(count, dtype=bool)
        self.zone_ms: Floats = np.where(same, SAME_ZONE.latency_ms, OTHER_ZONE.latency_ms)
        self.zone_per_byte: Floats = np.where(same, _ms_per_byte(SAME_ZONE), _ms_per_byte(OTHER_ZONE))
        self._learn_zones(count)

    @cached_property
    def linked(self) -> Ints:
        """The nodes with measured links."""
        return np.flatnonzero(np.bincount(self._ends.ravel()))

    def cost(self, source: int, target: int, load: Load) -> float:
        """Return ms from node to node (indices)."""
        if source == target:
            return 0.0
        ms, per_byte = self._pair(source, target)
        return ms + load.bytes * per_byte + load.extra_ms

    def per_byte(self, source: int, target: int) -> float:
        """Return the ms that a byte fills the way from node to node (indices)."""
        return 0.0 if source == target else self._pair(source, target)[1]

    def occupied(self, sources: Sequence[int], targets: Sequence[int], load: Load) -> float:
        """Return for how many ms a frame that goes from one of *sources* to one of *targets* fills the slowest way."""
        share = load.bytes / (len(sources) * len(targets))
        return max((share * self.per_byte(a, b) for a in sources for b in targets), default=0.0)

    def _pair(self, source: int, target: int) -> tuple[float, float]:
        pair = self._pairs.get((source, target))
        if pair is None:
            zones = self._zone[source], self._zone[target]
            pair = float(self.zone_ms[zones]), float(self.zone_per_byte[zones])
            self._pairs[source, target] = pair
        return pair

    def matrices(self, chosen: Ints) -> tuple[Floats, Floats]:
        """Return latency and ms per byte between the *chosen* nodes (indices), sources in rows; 0 on the diagonal."""
        within = self._of(chosen)
        both = (self.zone_ms, self._ms), (self.zone_per_byte, self._per_byte)
        ms, per_byte = (_spread(by_zone, measured, within, 0.0) for by_zone, measured in both)
        return ms, per_byte

    def send(self, chosen: Ints, load: Load) -> tuple[Floats, Floats]:
        """Return ms for *load* between the *chosen* nodes (indices), sources in rows; and its transpose, with FAR
        from a node to itself. Both are kept for the last ones chosen, which variants of one service mostly share.
        """
        key = chosen.tobytes()
        if self._within is None or self._within[0] != key:
            self._within, self._sends = (key, self._of(chosen)), {}
        if load not in self._sends:
            by_zone = self.zone_ms + (load.bytes * self.zone_per_byte + load.extra_ms)
            measured = self._ms + (load.bytes * self._per_byte + load.extra_ms)
            there, zone = self._within[1], by_zone.T
            back = there._replace(sources=there.targets, targets=there.sources)
            self._sends[load] = _spread(by_zone, measured, there, 0.0), _spread(zone, measured, back, FAR)
        return self._sends[load]

    def _of(self, chosen: Ints) -> Within:
        place = np.full(len(self._zone), -1)
        place[chosen] = np.arange(len(chosen))
        sources, targets = place[self._ends]
        measured = np.flatnonzero((sources >= 0) & (targets >= 0))
        return Within(self._zone[chosen], sources[measured], targets[measured], measured)

    def _learn_zones(self, count: int) -> None:
        """Take for each pair of zones the median of what was measured between their nodes."""
        sources, targets = self._zone[self._ends]
        pairs: Ints = sources * count + targets
        counts = np.bincount(pairs)
        keys = np.flatnonzero(counts)
        counts = counts[keys]
        begins = np.cumsum(counts) - counts
        low, high = begins + (counts - 1) // 2, begins + counts // 2
        for matrix, values in (self.zone_ms, self._ms), (self.zone_per_byte, self._per_byte):
            values = values[np.lexsort((values, pairs))]
            matrix.flat[keys] = (values[low] + values[high]) / 2


def _spread(by_zone: Floats, measured: Floats, within: Within, alone: float) -> Floats:
    """Return what holds between nodes: by their zones, where it was measured that, and *alone* from one to itself."""
    matrix = by_zone.take(within.zone, 0).take(within.zone, 1)
    matrix[within.sources, within.targets] = measured[within.measured]
    matrix.flat[:: len(matrix) + 1] = alone
    return matrix


def _between(nodes: Nodes, snapshot: Snapshot) -> dict[tuple[int, int], tuple[float, float]]:
    """Return what was measured between two known nodes: (source, target), indices -> ms, ms per byte."""
    at, found = nodes.index, dict[tuple[int, int], tuple[float, float]]()
    for (source, target), link in snapshot.links.items():
        if source != target and source in at and target in at:
            found[at[source], at[target]] = float(link.latency_ms), _ms_per_byte(link)
    return found


def load_of(variant: Variant, link: Link, snapshot: Snapshot) -> Load:
    """Return what *link* carries: by its output's type or profile, and by its encoding."""
    size, kind = _output(variant, link.source_handler, link.source_output, snapshot)
    if link.encoding is Encoding.JPEG and kind == "Image":
        return Load(JPEG_BYTES * size / TYPE_BYTES["Image"], JPEG_MS)
    return Load(size)


def result_load(variant: Variant, handler_id: int, output: int, snapshot: Snapshot) -> Load:
    """Return what an exit sends to the entry node."""
    return Load(_output(variant, handler_id, output, snapshot)[0])


def _output(variant: Variant, handler_id: int, output: int, snapshot: Snapshot) -> tuple[float, str]:
    handler = variant.topology.handlers[handler_id]
    view = snapshot.types.get(handler.handler_type)
    view = view and view.given(handler.params)
    kind = view.outputs[output] if view and output < len(view.outputs) else "Boxes"
    if view and output < len(view.output_bytes) and view.output_bytes[output]:
        return float(view.output_bytes[output]), kind
    return float(TYPE_BYTES.get(kind, JPEG_BYTES)), kind


def _ms_per_byte(link: LinkView) -> float:
    return 1000 / link.bytes_per_s if link.bytes_per_s else 0.0
