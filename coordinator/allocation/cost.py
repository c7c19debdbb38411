"""The cost model: what a placement of any graph takes, from measurements where there are any. docs/allocation.md
has the formulas with their sources.

latency = the longest path from the entry node through every handler that each frame needs, and back to it:
    per handler compute + wait, per link transfer; with replicas the mean over them
"""

from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import NamedTuple

import numpy as np

from coordinator.allocation.arrays import Floats, Nodes, priced
from coordinator.allocation.base import Request, Snapshot, Variant, Work, work
from coordinator.allocation.links import INPUT, LinkCosts, Load, load_of, result_load
from coordinator.allocation.queueing import USUAL_LOAD, core_stretch, queue_ms
from coordinator.allocation.service_times import ServiceTimes
from coordinator.allocation.shape import shape

LEAST_FREE = 0.05  # share of a core that the scheduler gives a newcomer on a node that is full

Assignment = Mapping[int, Sequence[int]]  # handler_id -> indices of nodes


class HandlerCost(NamedTuple):
    """Of one handler on each node. wait_ms: for a core, because of what ran there before."""

    ms: Floats
    confidence: Floats
    wait_ms: Floats


class CostModel:
    """What is known of a snapshot, as arrays; made once (see model())."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.nodes = Nodes(snapshot.nodes)
        self.times = ServiceTimes(self.nodes, snapshot)
        self.links = LinkCosts(self.nodes, snapshot)
        self.priced = priced(snapshot)
        self._load()

    def under(self, utilisation: Floats) -> "CostModel":
        """Return the same model with other loads on the nodes (0-1 and above, one per node)."""
        other = copy(self)
        other.nodes = self.nodes.under(utilisation)
        other._load()
        return other

    def _load(self) -> None:
        """Take what follows from the nodes' loads."""
        self.stretch: Floats = core_stretch(self.nodes.utilisation, self.nodes.cpus)
        self.usual_stretch: Floats = core_stretch(np.minimum(self.nodes.utilisation, USUAL_LOAD), self.nodes.cpus)
        self.free_cores: Floats = self.nodes.cpus * np.maximum(1 - self.nodes.utilisation, LEAST_FREE)
        self._handlers: dict[Work, HandlerCost] = {}
        self.evaluators: dict[tuple[int, float | None], Evaluator] = {}  # by the topology's id(), and the rate

    def handler(self, what: Work) -> HandlerCost:
        """Return compute and wait. A time that was measured is wall time, so its wait is in it already."""
        if what not in self._handlers:
            ms, confidence = self.times.estimate(what)
            stretch = self.usual_stretch if self.times.usual(what) else self.stretch
            self._handlers[what] = HandlerCost(ms, confidence, (1 - confidence) * ms * stretch)
        return self._handlers[what]


def model(snapshot: Snapshot) -> CostModel:
    """Return the snapshot's cost model, made at the first call and kept with the snapshot."""
    kept: CostModel | None = snapshot.__dict__.get("cost_model")
    if kept is None:
        kept = snapshot.__dict__["cost_model"] = CostModel(snapshot)
    return kept


def evaluator(variant: Variant, request: Request, snapshot: Snapshot) -> "Evaluator":
    """Return the evaluator of a variant at the request's rate, kept with the snapshot."""
    kept, key = model(snapshot).evaluators, (id(variant.topology), request.rate)
    if key not in kept or kept[key].topology is not variant.topology:
        kept[key] = Evaluator(variant, request, snapshot)
    return kept[key]


class Parts(NamedTuple):
    """A time in ms, and what it is made of."""

    total: float = 0.0
    compute: float = 0.0
    wait: float = 0.0
    transfer: float = 0.0

    def plus(self, compute: float, wait: float, transfer: float) -> "Parts":
        """Return the time after another step."""
        total = self.total + compute + wait + transfer
        return Parts(total, self.compute + compute, self.wait + wait, self.transfer + transfer)


class Outcome:
    """What a placement gives. all_ms: the latency with the branches on demand. The rest is computed when asked for:
    most placements that are looked at are compared by their latency alone.
    """

    def __init__(self, evaluator: "Evaluator", nodes: Assignment, latency: Parts, all_ms: float) -> None:
        self._evaluator, self._nodes = evaluator, dict(nodes)
        self.latency, self.all_ms = latency, all_ms

    @cached_property
    def fps(self) -> float | None:
        """Frames/s of the narrowest place."""
        return self._evaluator.fps(self._nodes)

    @property
    def cost(self) -> float:
        """Of 1,000 frames."""
        return self._evaluator.sum(self._nodes, self._evaluator.model.nodes.price)

    @property
    def joules(self) -> float:
        """Per frame."""
        return self._evaluator.sum(self._nodes, self._evaluator.model.nodes.joules)

    @property
    def confidences(self) -> tuple[float, ...]:
        """Of each handler's time, 0-1."""
        return self._evaluator.confidences(self._nodes)


class Evaluator:
    """Costs of one variant under one request, for any assignment of its handlers."""

    def __init__(self, variant: Variant, request: Request, snapshot: Snapshot) -> None:
        self.model, self.rate = model(snapshot), request.rate
        self._last: tuple[object, Outcome] | None = None
        topology = self.topology = variant.topology
        self.shape = shape(topology)
        self.order, self.entry = topology.order, topology.entry
        self.needed, self.always = self.shape.needed, self.shape.always
        self.costs = {h: self.model.handler(work(topology.handlers[h])) for h in self.order}
        self.into = {
            h: [(k.source_handler, load_of(variant, k, snapshot)) for k in links]
            for h, links in self.shape.into.items()
        }
        self.loads = {(source, h): load for h, loads in self.into.items() for source, load in loads}
        self.input = None if topology.has_source else INPUT
        self.exits = [(e.handler_id, result_load(variant, e.handler_id, e.output, snapshot)) for e in self.shape.exits]

    def evaluate(self, nodes: Assignment, entry: int) -> Outcome:
        """Return what the assignment gives. entry: index of the node whose gateway takes the frames."""
        key = (entry, *(tuple(nodes[h]) for h in self.order))
        if self._last is None or self._last[0] != key:
            self._last = key, self._outcome(nodes, entry)
        return self._last[1]

    def _outcome(self, nodes: Assignment, entry: int) -> Outcome:
        load = self.load(nodes)
        done: dict[int, Parts] = {}
        for handler in self.order:
            done[handler] = self._begin(handler, nodes, entry, done).plus(*self.own(handler, nodes, load), 0.0)
        back = [done[h].plus(0, 0, self._send(nodes[h], (entry,), load_)) for h, load_ in self.exits]
        return Outcome(self, nodes, max(back, default=Parts()), max(part.total for part in done.values()))

    def own(self, handler: int, nodes: Assignment, load: Mapping[int, float] | None = None) -> tuple[float, float]:
        """Return compute and wait of *handler* in ms, the means of its replicas."""
        load = self.load(nodes) if load is None else load
        cost, places = self.costs[handler], nodes[handler]
        compute = wait = 0.0
        for n in places:
            ms = float(cost.ms[n])
            compute += ms
            wait += float(cost.wait_ms[n]) + self._crowd(handler, n, len(places), load, ms)
            if self.rate is not None and handler in self.always:
                wait += float(queue_ms(ms, self.rate, len(places)))
        return compute / len(places), wait / len(places)

    def incoming(self, handler: int, nodes: Assignment, entry: int) -> float:
        """Return the ms of the dearest transfer to *handler*."""
        sends = [self._send(nodes[source], nodes[handler], load) for source, load in self.into[handler]]
        if handler == self.entry and self.input:
            sends.append(self._send((entry,), nodes[handler], self.input))
        return max(sends, default=0.0)

    def _begin(self, handler: int, nodes: Assignment, entry: int, done: Mapping[int, Parts]) -> Parts:
        """Return when the last input of *handler* is there."""
        begin = Parts()
        if handler == self.entry and self.input:
            begin = Parts().plus(0, 0, self._send((entry,), nodes[handler], self.input))
        for source, load in self.into[handler]:
            begin = max(begin, done[source].plus(0, 0, self._send(nodes[source], nodes[handler], load)))
        return begin

    def _send(self, sources: Sequence[int], targets: Sequence[int], load: Load) -> float:
        cost = self.model.links.cost
        if len(sources) == len(targets) == 1:
            return cost(sources[0], targets[0], load)
        return sum(cost(a, b, load) for a in sources for b in targets) / (len(sources) * len(targets))

    def load(self, nodes: Assignment) -> dict[int, float]:
        """Return the cores that this session keeps busy on each node at its rate; without a rate it takes turns."""
        load: dict[int, float] = {}
        if self.rate is not None:
            for handler in self.always:
                for n in nodes[handler]:
                    load[n] = load.get(n, 0.0) + self._share(handler, n, len(nodes[handler]))
        return load

    def _share(self, handler: int, node: int, replicas: int) -> float:
        return (self.rate or 0.0) * float(self.costs[handler].ms[node]) / 1000 / replicas

    def _crowd(self, handler: int, node: int, replicas: int, load: Mapping[int, float], ms: float) -> float:
        """Return the additional wait for a core that the session's other handlers cause on *node*."""
        others = load.get(node, 0.0) - (self._share(handler, node, replicas) if handler in self.always else 0.0)
        if others <= 1e-9:
            return 0.0
        cpus, utilisation = float(self.model.nodes.cpus[node]), float(self.model.nodes.utilisation[node])
        more = float(core_stretch(utilisation + others / cpus, cpus)) - float(self.model.stretch[node])
        return ms * max(0.0, more)

    def confidences(self, nodes: Assignment) -> tuple[float, ...]:
        """Return how sure each time is that the latency is made of, 0-1."""
        return tuple(float(self.costs[h].confidence[n]) for h in self.needed for n in nodes[h])

    def fps(self, nodes: Assignment) -> float | None:
        """Return the frames/s of the narrowest place: a handler's processes, a node's free cores, or a link."""
        ms_per_frame, busy = 0.0, dict[int, float]()
        for handler in self.needed:
            places = nodes[handler]
            times = [float(self.costs[handler].ms[n]) for n in places]
            ms_per_frame = max(ms_per_frame, sum(times) / len(times) ** 2)
            for n, ms in zip(places, times, strict=True):
                busy[n] = busy.get(n, 0.0) + ms / len(places)
        for n, ms in busy.items():
            ms_per_frame = max(ms_per_frame, ms / float(self.model.free_cores[n]))
        for handler in self.needed:
            for source, load in self.into[handler]:
                ms_per_frame = max(ms_per_frame, self.occupied(nodes[source], nodes[handler], load))
        return 1000 / ms_per_frame if ms_per_frame else None

    def occupied(self, sources: Sequence[int], targets: Sequence[int], load: Load) -> float:
        """Return for how long a frame fills the slowest of the links between them."""
        share = load.bytes / (len(sources) * len(targets))
        return max((share * self.model.links.per_byte(a, b) for a in sources for b in targets), default=0.0)

    def sum(self, nodes: Assignment, per_ms: Floats) -> float:
        """Return the sum of the frame's service times, each weighed by *per_ms* of its node."""
        parts = ([float(self.costs[h].ms[n]) * float(per_ms[n]) for n in nodes[h]] for h in self.needed)
        return sum(sum(part) / len(part) for part in parts)


def always_run(variant: Variant) -> list[int]:
    """Return the handlers, in order, that every frame passes: those that lead to an exit not on demand."""
    return list(variant.topology.always)
