"""The nodes of a snapshot as arrays, one element per node in the order of node_ids: what numpy computes with."""

from collections.abc import Mapping
from copy import copy
from functools import cached_property

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
        self.ids = sorted(nodes)
        self.views = [nodes[n] for n in self.ids]
        self.index = dict(zip(self.ids, range(len(self.ids)), strict=True))
        views = self.views
        self.cpus: Floats = np.maximum(1.0, np.array([v.cpus for v in views], float))
        self.utilisation: Floats = np.array([v.cpu_util for v in views], float) / 100
        total: Floats = np.array([v.mem_total for v in views], float)
        used: Floats = np.array([v.mem_util for v in views], float) / 100
        self.mem_free: Floats = np.where(total > 0, total * (1 - used), np.inf)
        zones = [v.zone for v in views]
        self.zones = sorted(set(zones))
        numbers = {zone: i for i, zone in enumerate(self.zones)}
        self.zone: Ints = np.array([numbers[zone] for zone in zones], np.intp)
        self.takes: Bools = np.array([v.refuses is None for v in views], bool)
        price = _known([v.cost_per_hour for v in views], 0.0)
        self.price: Floats = price / self.cpus / 3600  # of 1,000 frames, per ms of service time on one core
        idle, busy = _known([v.watts_idle for v in views], 0.0), _known([v.watts_busy for v in views], np.nan)
        watts = np.where(np.isnan(busy), CORE_WATTS, np.maximum(0.0, busy - idle) / self.cpus)
        self.joules: Floats = watts / 1000  # per ms of service time
        self._classes: dict[frozenset[int], int] = {}  # nodes are of few kinds
        kinds = [self._classes.setdefault(v.available, len(self._classes)) for v in views]
        self._class: Ints = np.array(kinds, np.intp)
        self._available: dict[int, Bools] = {}

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def gpu_mem_free(self) -> Floats:
        """MiB of the GPU with the most; -1: no GPU."""
        return _known([v.gpu_mem_free for v in self.views], -1.0)

    @cached_property
    def gpu_mem_sum(self) -> Floats:
        """MiB of all GPUs."""
        return np.array([sum(v.gpus) for v in self.views], float)

    def under(self, utilisation: Floats) -> "Nodes":
        """Return the same nodes with other loads (0-1 and above); their views stay as they are."""
        other = copy(self)
        other.utilisation = utilisation
        return other

    def available(self, handler_type: int) -> Bools:
        """Return for each node whether that type runs there."""
        if handler_type not in self._available:
            of_class: Bools = np.array([handler_type in types for types in self._classes], bool)
            self._available[handler_type] = of_class.take(self._class)
        return self._available[handler_type]

    def labelled(self, labels: frozenset[str]) -> Bools:
        """Return for each node whether it carries all of *labels*."""
        if not labels:
            return np.ones(len(self), bool)
        return np.array([labels <= v.labels for v in self.views], bool)


def _known(values: list[float | None], otherwise: float) -> Floats:
    """Return *values*, *otherwise* where nothing is known."""
    if values.count(None) == len(values):
        return np.full(len(values), otherwise)
    return np.array([otherwise if value is None else value for value in values], float)


def priced(snapshot: Snapshot) -> bool:
    """Return True when any node has a price: without, costs say nothing."""
    return any(v.cost_per_hour is not None for v in snapshot.nodes.values())
