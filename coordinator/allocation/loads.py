"""Who takes how much of which node, by the rates that are known; and the snapshot as it would be under other loads.

A session takes rate x service time cores on each of its nodes. Its rate is what it was promised (`min_fps`) or, when
that is more, what is measured; without either it counts as nothing. What a node is busy with beyond its sessions'
measured part is its background.
"""

from collections.abc import Collection, Iterable, Mapping

import msgspec
import numpy as np
from msgspec import Struct

from coordinator.allocation.arrays import Floats
from coordinator.allocation.base import Placement, Snapshot, Variant, work
from coordinator.allocation.cost import always_run, model
from wire.messages import Objective

Cores = Mapping[int, float]  # node_id -> cores kept busy

replace = msgspec.structs.replace


class Promise(Struct, frozen=True, kw_only=True):
    """A running session: where it is, what it was promised, and its rate as measured (frames/s)."""

    session_id: int
    variant: Variant
    placement: Placement
    objective: Objective = Objective()
    priority: int = 0
    fps: float | None = None

    @property
    def rate(self) -> float:
        """Frames/s that are kept free for it."""
        return max(self.objective.min_fps or 0.0, self.fps or 0.0)


def cores(variant: Variant, placement: Placement, rate: float, snapshot: Snapshot) -> dict[int, float]:
    """Return the cores that *rate* frames/s keep busy, by the handlers that every frame passes."""
    busy: dict[int, float] = {}
    if rate <= 0:
        return busy
    costs = model(snapshot)
    for handler_id in always_run(variant):
        nodes = placement.nodes[handler_id]
        ms = costs.handler(work(variant.topology.handlers[handler_id])).ms
        for n in nodes:
            if n in costs.nodes.index:
                busy[n] = busy.get(n, 0.0) + rate * float(ms[costs.nodes.index[n]]) / 1000 / len(nodes)
    return busy


class Loads:
    """The loads of a snapshot, split: each session's, and each node's background."""

    def __init__(self, snapshot: Snapshot, promises: Iterable[Promise]) -> None:
        self.snapshot = snapshot
        self.promises = {p.session_id: p for p in promises}
        self._nodes = model(snapshot).nodes
        self._usual: dict[int, Snapshot] = {}
        self.kept: dict[int, dict[int, float]] = {}
        self._sum, measured = np.zeros(len(self._nodes)), np.zeros(len(self._nodes))
        for session_id, promise in self.promises.items():
            each = cores(promise.variant, promise.placement, 1.0, snapshot) if promise.rate > 0 else {}
            self.kept[session_id] = {n: promise.rate * count for n, count in each.items()}
            self._add(self._sum, self.kept[session_id])
            self._add(measured, each, promise.fps or 0.0)
        self._background: Floats = np.maximum(0.0, self._nodes.utilisation * self._nodes.cpus - measured)

    def utilisation(self, without: Collection[int] = (), more: Cores | None = None) -> Floats:
        """Return each node's load (0-1, and above when more is kept than there is); *without*: sessions left out."""
        kept = self._sum.copy()
        for session_id in without:
            self._add(kept, self.kept.get(session_id, {}), -1.0)
        busy = self._background + np.maximum(0.0, kept)  # what was taken away leaves no rounding below nothing
        self._add(busy, more or {})
        return busy / self._nodes.cpus

    def under(self, without: Collection[int] = (), more: Cores | None = None) -> Snapshot:
        """Return the snapshot with those loads; its cost model is ready."""
        return under(self.snapshot, self.utilisation(without, more))

    def usual(self, session_id: int) -> Snapshot:
        """Return under() without one session; kept."""
        if session_id not in self._usual:
            self._usual[session_id] = self.under(without={session_id})
        return self._usual[session_id]

    def at(self, utilisation: Floats, node_id: int) -> float:
        """Return one node's part of what utilisation() gave."""
        return float(utilisation[self._nodes.index[node_id]])

    def _add(self, busy: Floats, more: Cores, times: float = 1.0) -> None:
        for node_id, count in more.items():
            if node_id in self._nodes.index:
                busy[self._nodes.index[node_id]] += times * count


def without(snapshot: Snapshot, promise: Promise) -> Snapshot:
    """Return the snapshot as it would be measured were the session not there."""
    nodes = model(snapshot).nodes
    utilisation = nodes.utilisation.copy()
    for node_id, count in cores(promise.variant, promise.placement, promise.fps or 0.0, snapshot).items():
        i = nodes.index[node_id]
        utilisation[i] = max(0.0, utilisation[i] - count / nodes.cpus[i])
    return under(snapshot, utilisation)


def under(snapshot: Snapshot, utilisation: Floats) -> Snapshot:
    """Return the snapshot with other loads (0-1 and above, one per node); its cost model is ready."""
    nodes, views = model(snapshot).nodes, dict(snapshot.nodes)
    for i in np.flatnonzero(np.abs(utilisation - nodes.utilisation) > 1e-9).tolist():
        view = nodes.views[i]
        views[view.node_id] = replace(view, cpu_util=100 * float(utilisation[i]))
    other = replace(snapshot, nodes=views)
    other.__dict__["cost_model"] = model(snapshot).under(utilisation)
    return other
