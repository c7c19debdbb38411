"""The cost model: what a placement of any graph takes, from measurements where there are any. docs/allocation.md
has the formulas with their sources.

latency = the longest path from the entry node through every handler that each frame needs, and back to it:
    per handler compute + wait, per link transfer; with replicas the mean over them
"""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import NamedTuple

import numpy as np

from coordinator.allocation.arrays import Floats, Nodes, priced
from coordinator.allocation.base import Request, Snapshot, Variant, Work
from coordinator.allocation.links import INPUT, LinkCosts, Load, load_of, result_load
from coordinator.allocation.outcome import Assignment, Figures, HandlerCost, Outcome, Parts
from coordinator.allocation.queueing import USUAL_LOAD, core_stretch, queue_ms
from coordinator.allocation.service_times import ServiceTimes
from coordinator.allocation.shape import shape

LEAST_FREE = 0.05  # share of a core that the scheduler gives a newcomer on a node that is full


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

    def handler(self, what: Work) -> HandlerCost:
        """Return compute and wait. A time that was measured is wall time, so its wait is in it already."""
        return self.handlers([what])[0]

    def handlers(self, works: Sequence[Work]) -> list[HandlerCost]:
        """Return compute and wait of each."""
        new = list(dict.fromkeys(what for what in works if what not in self._handlers))
        if new:
            ms, confidence = self.times.estimates(new)
            usual = np.array([self.times.usual(what) for what in new])[:, None]
            wait = (1 - confidence) * ms * np.where(usual, self.usual_stretch, self.stretch)
            self._handlers.update(zip(new, map(HandlerCost, ms, confidence, wait), strict=True))
        return [self._handlers[what] for what in works]


def model(snapshot: Snapshot) -> CostModel:
    """Return the snapshot's cost model, made at the first call and kept with the snapshot."""
    kept: CostModel | None = snapshot.__dict__.get("cost_model")
    if kept is None:
        kept = snapshot.__dict__["cost_model"] = CostModel(snapshot)
    return kept


def evaluator(variant: Variant, request: Request, snapshot: Snapshot) -> "Evaluator":
    """Return the evaluator of a variant at the request's rate, kept with the snapshot."""
    kept: dict[tuple[int, float | None], Evaluator] = snapshot.__dict__.setdefault("evaluators", {})
    key = id(variant.topology), request.rate
    if key not in kept or kept[key].topology is not variant.topology:
        kept[key] = Evaluator(variant, request, snapshot)
    return kept[key]


Times = tuple[float, float, float, float]  # as Parts
Share = tuple[int, float, float]  # handler, its ms, the cores that it keeps busy
NOTHING: Times = (0.0, 0.0, 0.0, 0.0)


class Alone(NamedTuple):
    """Of one of a handler's replicas, on its node. wait_ms: for a core; queue_ms: for its process; cores: kept busy."""

    ms: float
    wait_ms: float
    queue_ms: float
    cores: float


class Evaluator:
    """Costs of one variant under one request, for any assignment of its handlers."""

    def __init__(self, variant: Variant, request: Request, snapshot: Snapshot) -> None:
        self.model, self.rate = model(snapshot), request.rate
        self._last: tuple[object, Outcome] | None = None
        self._found: dict[tuple[int, ...], list[Alone]] = {}  # by handler and its nodes
        topology = self.topology = variant.topology
        self.shape = shape(topology)
        self.order, self.entry = topology.order, topology.entry
        self.needed, self.always = self.shape.needed, self.shape.always
        self.costs = dict(zip(self.order, self.model.handlers(self.shape.works), strict=True))
        self.into = {
            h: [(k.source_handler, load_of(variant, k, snapshot)) for k in links]
            for h, links in self.shape.into.items()
        }
        self.loads = {(source, h): load for h, loads in self.into.items() for source, load in loads}
        of = self.model
        self._crowds: dict[tuple[int, float], float] = {}
        self._of_node = of.nodes.cpus, of.nodes.utilisation, of.stretch
        self._figures = Figures(self.needed, self.costs, self.into, of.nodes, of.links, of.free_cores)
        self.input = None if topology.has_source else INPUT
        self.exits = [(e.handler_id, result_load(variant, e.handler_id, e.output, snapshot)) for e in self.shape.exits]

    def evaluate(self, nodes: Assignment, entry: int) -> Outcome:
        """Return what the assignment gives. entry: index of the node whose gateway takes the frames."""
        key = (entry, *(tuple(nodes[h]) for h in self.order))
        if self._last is None or self._last[0] != key:
            self._last = key, self._outcome(nodes, entry)
        return self._last[1]

    def _outcome(self, nodes: Assignment, entry: int) -> Outcome:
        alone = {h: self._alone(h, nodes[h]) for h in self.order}
        load = self._load(nodes, alone)
        done: dict[int, Times] = {}
        for handler in self.order:
            total, computed, waited, sent = self._begin(handler, nodes, entry, done)
            compute, wait = self._own(nodes[handler], alone[handler], load)
            done[handler] = total + compute + wait, computed + compute, waited + wait, sent
        back = [self._arrive(done[h], nodes[h], (entry,), load_) for h, load_ in self.exits]
        latency = Parts(*max(back)) if back else Parts()
        return Outcome(self._figures, nodes, latency, max([part[0] for part in done.values()]))

    def own(self, handler: int, nodes: Assignment, load: Mapping[int, float] | None = None) -> tuple[float, float]:
        """Return compute and wait of *handler* in ms, the means of its replicas."""
        load = self.load(nodes) if load is None else load
        return self._own(nodes[handler], self._alone(handler, nodes[handler]), load)

    def _own(self, places: Sequence[int], alone: Sequence[Alone], load: Mapping[int, float]) -> tuple[float, float]:
        compute = wait = 0.0
        for n, (ms, wait_ms, queue_ms_, cores) in zip(places, alone, strict=True):
            others = load[n] - cores if n in load else 0.0
            compute += ms
            wait += wait_ms + (ms * self._crowd(n, others) if others > 1e-9 else 0.0)
            wait += queue_ms_
        return compute / len(places), wait / len(places)

    def _alone(self, handler: int, places: Sequence[int]) -> list[Alone]:
        """Return what the handler takes on each of its nodes by itself; kept, for a search asks again and again."""
        key = handler, *places
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = [self._alone_on(handler, n, len(places)) for n in places]
        return found

    def _alone_on(self, handler: int, node: int, replicas: int) -> Alone:
        cost, queue, cores = self.costs[handler], 0.0, 0.0
        ms = cost.ms.item(node)
        if self.rate is not None and handler in self.always:
            queue, cores = queue_ms(ms, self.rate, replicas), self.rate * ms / 1000 / replicas
        return Alone(ms, cost.wait_ms.item(node), queue, cores)

    def incoming(self, handler: int, nodes: Assignment, entry: int) -> float:
        """Return the ms of the dearest transfer to *handler*."""
        sends = [self._send(nodes[source], nodes[handler], load) for source, load in self.into[handler]]
        if handler == self.entry and self.input:
            sends.append(self._send((entry,), nodes[handler], self.input))
        return max(sends, default=0.0)

    def _begin(self, handler: int, nodes: Assignment, entry: int, done: Mapping[int, Times]) -> Times:
        """Return when the last input of *handler* is there."""
        begin, places = NOTHING, nodes[handler]
        if handler == self.entry and self.input:
            begin = self._arrive(begin, (entry,), places, self.input)
        for source, load in self.into[handler]:
            arrived = self._arrive(done[source], nodes[source], places, load)
            if arrived > begin:
                begin = arrived
        return begin

    def _arrive(self, sent: Times, sources: Sequence[int], targets: Sequence[int], load: Load) -> Times:
        """Return the time after a transfer."""
        if len(sources) == len(targets) == 1 and sources[0] == targets[0]:
            return sent
        total, compute, wait, transfer = sent
        ms = self._send(sources, targets, load)
        return total + ms, compute, wait, transfer + ms

    def _send(self, sources: Sequence[int], targets: Sequence[int], load: Load) -> float:
        cost = self.model.links.cost
        if len(sources) == len(targets) == 1:
            return cost(sources[0], targets[0], load)
        return sum(cost(a, b, load) for a in sources for b in targets) / (len(sources) * len(targets))

    def load(self, nodes: Assignment) -> dict[int, float]:
        """Return the cores that this session keeps busy on each node at its rate; without a rate it takes turns."""
        if self.rate is None:
            return {}
        return self._load(nodes, {h: self._alone(h, nodes[h]) for h in self.always})

    def _load(self, nodes: Assignment, alone: Mapping[int, Sequence[Alone]]) -> dict[int, float]:
        load: dict[int, float] = {}
        for handler in self.always if self.rate is not None else ():
            for n, its in zip(nodes[handler], alone[handler], strict=True):
                load[n] = load.get(n, 0.0) + its.cores
        return load

    def crowding(self, nodes: Assignment) -> float:
        """Return the ms that the session's handlers wait for each other."""
        return sum([self._waits(n, there) for n, there in self._together(nodes).items()])

    def relief(self, nodes: Assignment) -> dict[int, float]:
        """Return for each handler the ms that it and those on its nodes wait less when it leaves them: how much can be
        won by moving it, but for its own time and its transfers.
        """
        relief = dict.fromkeys(self.order, 0.0)
        for n, there in self._together(nodes).items():
            crowded = self._waits(n, there)
            for one in there:
                relief[one[0]] += crowded - self._waits(n, [other for other in there if other is not one])
        return relief

    def _together(self, nodes: Assignment) -> dict[int, list[Share]]:
        """Return what each handler takes of the nodes that it is not alone on."""
        found: dict[int, list[Share]] = {}
        for handler in self.always if self.rate is not None else ():
            places = nodes[handler]
            for n, alone in zip(places, self._alone(handler, places), strict=True):
                found.setdefault(n, []).append((handler, alone.ms / len(places), alone.cores))
        return {n: there for n, there in found.items() if len(there) > 1}

    def _waits(self, node: int, there: Sequence[Share]) -> float:
        """Return the ms that handlers on a node wait for each other."""
        busy = sum([cores for _, _, cores in there])
        return sum([ms * self._crowd(node, busy - cores) for _, ms, cores in there])

    def _crowd(self, node: int, cores: float) -> float:
        """Return by how much longer work takes on *node* because the session keeps *cores* more busy there; kept."""
        found = self._crowds.get((node, cores))
        if found is None:
            cpus, utilisation, stretch = (of.item(node) for of in self._of_node)
            found = max(0.0, core_stretch(utilisation + cores / cpus, cpus) - stretch)
            self._crowds[node, cores] = found
        return found


def always_run(variant: Variant) -> list[int]:
    """Return the handlers, in order, that every frame passes: those that lead to an exit not on demand."""
    return list(variant.topology.always)
