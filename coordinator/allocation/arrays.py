"""The nodes of a snapshot as arrays, one element per node in the order of node_ids: what numpy computes with."""

from collections.abc import Mapping
from copy import copy

import numpy as np
from numpy.typing import NDArray

from coordinator.allocation.base import NodeView, Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

CORE_WATTS = 5.0  # a busy core draws so much more than an idle one, where nobody said


class Nodes:
    """Made once per snapshot; O(nodes)."""

    def __init__(self, nodes: Mapping[int, NodeView]) -> None:
        self.views = [nodes[n] for n in sorted(nodes)]
        self.ids = [v.node_id for v in self.views]
        self.index = {n: i for i, n in enumerate(self.ids)}
        self.cpus: Floats = np.array([max(1, v.cpus) for v in self.views], float)
        self.utilisation: Floats = np.array([v.cpu_util for v in self.views], float) / 100
        self.mem_free: Floats = np.array([v.mem_free if v.mem_total else np.inf for v in self.views], float)
        gpu = [-1.0 if v.gpu_mem_free is None else v.gpu_mem_free for v in self.views]
        self.gpu_mem_free: Floats = np.array(gpu, float)  # -1: no GPU
        self.zones = sorted({v.zone for v in self.views})
        numbers = {zone: i for i, zone in enumerate(self.zones)}
        self.zone: Ints = np.array([numbers[v.zone] for v in self.views], np.intp)
        self.takes: Bools = np.array([v.refuses is None for v in self.views], bool)
        prices = [v.cost_per_hour or 0.0 for v in self.views]
        self.price: Floats = np.array(prices) / self.cpus / 3600  # of 1,000 frames, per ms of service time on one core
        self.joules: Floats = np.array([_core_watts(v) for v in self.views]) / 1000  # per ms of service time
        self._classes: dict[frozenset[int], int] = {}  # nodes are of few kinds
        kinds = [self._classes.setdefault(v.available, len(self._classes)) for v in self.views]
        self._class: Ints = np.array(kinds, np.intp)
        self._available: dict[int, Bools] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def under(self, utilisation: Floats) -> "Nodes":
        """Return the same nodes with other loads (0-1 and above); their views stay as they are."""
        other = copy(self)
        other.utilisation = utilisation
        return other

    def available(self, handler_type: int) -> Bools:
        """Return for each node whether that type runs there."""
        if handler_type not in self._available:
            of_class: Bools = np.array([handler_type in types for types in self._classes], bool)
            self._available[handler_type] = of_class[self._class] if len(self) else np.zeros(0, bool)
        return self._available[handler_type]

    def labelled(self, labels: frozenset[str]) -> Bools:
        """Return for each node whether it carries all of *labels*."""
        if not labels:
            return np.ones(len(self), bool)
        return np.array([labels <= v.labels for v in self.views], bool)


def _core_watts(view: NodeView) -> float:
    if view.watts_busy is None:
        return CORE_WATTS
    return max(0.0, view.watts_busy - (view.watts_idle or 0.0)) / max(1, view.cpus)


def priced(snapshot: Snapshot) -> bool:
    """Return True when any node has a price: without, costs say nothing."""
    return any(v.cost_per_hour is not None for v in snapshot.nodes.values())
