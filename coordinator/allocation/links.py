"""What getting a frame from one node to another costs: measured where it was, else by zone.

transfer = latency + bytes / bandwidth (+ JPEG coding where the link asks for it); 0 on one node (shared memory).
"""

from functools import cached_property
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


class LinkCosts:
    """Latency (ms) and ms per byte between nodes. The matrices by zone hold where a pair was not measured."""

    def __init__(self, nodes: Nodes, snapshot: Snapshot) -> None:
        self._nodes = nodes
        links = _between(nodes, snapshot)
        self._ends: Ints = np.array(list(links), np.intp).reshape(-1, 2).T  # sources, targets
        latency = [link.latency_ms for link in links.values()]
        self._costs: Floats = np.array([latency, [_ms_per_byte(link) for link in links.values()]], float)
        self._measured = dict(zip(links, self._costs.T.tolist(), strict=True))  # (source, target) -> ms, ms per byte
        self._matrices: tuple[bytes, Floats, Floats] | None = None
        self._sends: dict[Load, tuple[Floats, Floats]] = {}
        count = len(nodes.zones)
        same = np.eye(count, dtype=bool)
        self.zone_ms: Floats = np.where(same, SAME_ZONE.latency_ms, OTHER_ZONE.latency_ms)
        self.zone_per_byte: Floats = np.where(same, _ms_per_byte(SAME_ZONE), _ms_per_byte(OTHER_ZONE))
        self._learn_zones()

    @cached_property
    def linked(self) -> Ints:
        """The nodes with measured links."""
        return np.unique(self._ends)

    def cost(self, source: int, target: int, load: Load) -> float:
        """Return ms from node to node (indices)."""
        if source == target:
            return 0.0
        ms, per_byte = self._pair(source, target)
        return ms + load.bytes * per_byte + load.extra_ms

    def per_byte(self, source: int, target: int) -> float:
        """Return the ms that a byte fills the way from node to node (indices)."""
        return 0.0 if source == target else self._pair(source, target)[1]

    def _pair(self, source: int, target: int) -> tuple[float, float]:
        measured = self._measured.get((source, target))
        if measured:
            return measured[0], measured[1]
        a, b = self._nodes.zone[source], self._nodes.zone[target]
        return float(self.zone_ms[a, b]), float(self.zone_per_byte[a, b])

    def matrices(self, chosen: Ints) -> tuple[Floats, Floats]:
        """Return latency and ms per byte between the *chosen* nodes (indices), sources in rows; 0 on the diagonal."""
        zone = np.ix_(*2 * (self._nodes.zone[chosen],))
        ms, per_byte = self.zone_ms[zone], self.zone_per_byte[zone]
        place = np.full(len(self._nodes), -1)
        place[chosen] = np.arange(len(chosen))
        sources, targets = place[self._ends]
        both = (sources >= 0) & (targets >= 0)
        at = sources[both], targets[both]
        ms[at], per_byte[at] = self._costs[:, both]
        np.fill_diagonal(ms, 0.0)
        np.fill_diagonal(per_byte, 0.0)
        return ms, per_byte

    def send(self, chosen: Ints, load: Load) -> tuple[Floats, Floats]:
        """Return ms for *load* between the *chosen* nodes (indices), sources in rows; and its transpose, with FAR
        from a node to itself. Both are kept for the last ones chosen, which variants of one service mostly share.
        """
        key = chosen.tobytes()
        if self._matrices is None or self._matrices[0] != key:
            self._matrices, self._sends = (key, *self.matrices(chosen)), {}
        if load not in self._sends:
            _, ms, per_byte = self._matrices
            sends = ms + (load.bytes * per_byte + load.extra_ms)
            np.fill_diagonal(sends, 0.0)
            leaves = sends.T.copy(order="C")
            np.fill_diagonal(leaves, FAR)
            self._sends[load] = sends, leaves
        return self._sends[load]

    def _learn_zones(self) -> None:
        """Take for each pair of zones the median of what was measured between their nodes."""
        sources, targets = self._nodes.zone[self._ends]
        pairs: Ints = sources * len(self._nodes.zones) + targets
        keys, begins, counts = np.unique(np.sort(pairs), return_index=True, return_counts=True)
        low, high = begins + (counts - 1) // 2, begins + counts // 2
        for matrix, values in zip((self.zone_ms, self.zone_per_byte), self._costs, strict=True):
            values = values[np.lexsort((values, pairs))]
            matrix.flat[keys] = (values[low] + values[high]) / 2


def _between(nodes: Nodes, snapshot: Snapshot) -> dict[tuple[int, int], LinkView]:
    """Return what was measured between two known nodes (indices)."""
    at = nodes.index.get
    found = {(at(a, -1), at(b, -1)): link for (a, b), link in snapshot.links.items() if a != b}
    return {ends: link for ends, link in found.items() if min(ends) >= 0}


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
