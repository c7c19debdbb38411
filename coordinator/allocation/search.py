"""What the searching algorithms share: which nodes may take which handler, placements and their rank, the decision."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from coordinator.allocation import feasibility
from coordinator.allocation.arrays import Bools, Floats, Ints
from coordinator.allocation.base import Decision, Explanation, Placement, Request, Snapshot, Unplaceable, Variant
from coordinator.allocation.cost import evaluator
from coordinator.allocation.links import FAR
from coordinator.allocation.objective import Rank, rank
from coordinator.allocation.outcome import Outcome
from coordinator.allocation.predict import predicted
from coordinator.allocation.queueing import queue_ms
from coordinator.allocation.runs import Cores

Chosen = dict[int, tuple[int, ...]]  # handler_id -> indices of nodes


class Resource(NamedTuple):
    """What runs out on a node. needs: handler -> MiB, on each node where that differs; free: MiB of each node."""

    needs: Mapping[int, Floats | float]
    free: Floats

    def of(self, handlers: Sequence[int], chosen: Ints) -> Floats:
        """Return (handlers, chosen nodes) what they need; (handlers, 1) where that is the same on all nodes."""
        needs = [self.needs[h] for h in handlers]
        if any(isinstance(need, np.ndarray) for need in needs):
            return np.array([np.broadcast_to(need, self.free.shape)[chosen] for need in needs], float)
        return np.array(needs, float)[:, None]


class Search:
    """One variant's possibilities. Raises Unplaceable, with a reason per node, when a handler has too few nodes."""

    def __init__(self, request: Request, variant: Variant, snapshot: Snapshot, current: Placement | None) -> None:
        self.request, self.variant, self.types, self.current = request, variant, snapshot.types, current
        self.costs = evaluator(variant, request, snapshot)
        self.nodes = self.costs.model.nodes
        self.order = variant.topology.order
        self.path, self.demand = self.costs.shape.needed, self.costs.shape.demand
        handlers = variant.topology.handlers
        self.memory = {h: feasibility.memory_mib(handlers[h], snapshot) for h in self.order}
        gpu = {h: feasibility.gpu_mib(handlers[h], snapshot) for h in self.order}
        self.gpu = {h: mib for h, mib in gpu.items() if mib is not None}  # of those that use one
        self._rows = [self.order.index(h) for h in (*self.path, *self.demand)]  # the handlers of the path first
        self._counts = [request.count(h) for h in self.order]
        self._feasible = self._may()
        self.feasible = dict(zip(self.order, self._feasible, strict=True))
        for handler, wanted, found in zip(self.order, self._counts, self._feasible.sum(axis=1).tolist(), strict=True):
            if found < wanted:
                feasibility.fits(variant, request, snapshot, current, handler)
        self.fixed_entry = None if request.entry_node is None else self._fixed(request.entry_node)
        self.resources = self._resources()

    def times(self, handler: int) -> Floats:
        """Return compute + wait in ms on each node, by itself."""
        times: Floats = self._times[self.order.index(handler)]
        return times

    @cached_property
    def _ms(self) -> Floats:
        """(handlers, nodes) ms of compute, in order."""
        return np.array([self.costs.costs[h].ms for h in self.order])

    @cached_property
    def _times(self) -> Floats:
        """(handlers, nodes) ms of compute + wait, in order."""
        times: Floats = self._ms + np.array([self.costs.costs[h].wait_ms for h in self.order])
        if self.request.rate is not None:
            counts = [count if h in self.costs.always else 0 for h, count in zip(self.order, self._counts, strict=True)]
            for count in {*counts} - {0}:
                rows = [row for row, its in enumerate(counts) if its == count]
                times[rows] += queue_ms(self._ms[rows], self.request.rate, count)
        return times

    @cached_property
    def weights(self) -> Floats:
        """(handlers, nodes) ms, FAR where a handler may not run; the handlers of the path first."""
        return np.where(self._feasible, self._times, FAR).take(self._rows, 0)

    def cores(self, chosen: Ints) -> Cores:
        """Return what the session takes of the chosen nodes' cores at its rate."""
        rows = self._rows[: len(self.path)]
        ms = self._ms.take(rows, 0).take(chosen, 1)
        replicas = np.array([self._counts[row] for row in rows])[:, None]
        share = (self.request.rate or 0.0) * ms / 1000 / replicas
        of_node = self.nodes.utilisation, self.nodes.cpus, self.costs.model.stretch
        return Cores(ms, share, *(values.take(chosen) for values in of_node))

    def entry(self, nodes: Mapping[int, Sequence[int]]) -> int:
        """Return the node whose gateway takes the frames: the one asked for, the present one, or the first."""
        if self.fixed_entry is not None:
            return self.fixed_entry
        places = nodes[self.costs.entry]
        kept = self.nodes.index.get(self.current.entry_node, -1) if self.current else -1
        return kept if kept in places else places[0]

    def outcome(self, nodes: Chosen) -> Outcome:
        """Return what the placement gives."""
        return self.costs.evaluate(nodes, self.entry(nodes))

    def rank(self, nodes: Chosen) -> Rank:
        """Return the placement's rank, smaller is better: memory that is short, then the objective."""
        return (self.short_mib(nodes), *rank(self.request.objective, self.outcome(nodes)))

    def short_mib(self, nodes: Chosen) -> float:
        """Return how many MiB are missing over all nodes; what runs there already needs no more."""
        return sum(self._short(nodes).values())

    def shortest_of_memory(self, nodes: Chosen) -> int | None:
        """Return the node that misses most memory, or None."""
        short = self._short(nodes)
        return max(short, key=lambda n: short[n]) if short else None

    def _short(self, nodes: Chosen) -> dict[int, float]:
        taken: dict[int, float] = {}
        for handler, places in nodes.items():
            mib = self.memory[handler]
            for n in places:
                if self.current is None or not self.stays(handler, n):
                    taken[n] = taken.get(n, 0.0) + mib
        free = self.nodes.mem_free.item
        short = {n: mib - free(n) for n, mib in taken.items() if mib > free(n)}
        for n in {n for handler in self.gpu for n in nodes.get(handler, ())}:
            mib = feasibility.gpu_short(self._gpu_wants(nodes, n), self.nodes.views[n].gpus)
            if mib > 0:
                short[n] = short.get(n, 0.0) + mib
        return short

    def _gpu_wants(self, nodes: Mapping[int, Sequence[int]], node: int) -> list[float]:
        """Return what each handler that comes to the node wants of a GPU there, MiB."""
        return [mib for h, mib in self.gpu.items() if node in nodes.get(h, ()) and not self.stays(h, node)]

    def gpu_room(self, handler: int, nodes: Chosen) -> Bools:
        """Return for each node whether its GPUs have room for *handler* beside those of *nodes*."""
        room = np.ones(len(self.nodes), bool)
        if handler in self.gpu:
            for n in {n for other in self.gpu for n in nodes.get(other, ())}:
                wants = self._gpu_wants({**nodes, handler: (n,)}, n)
                room[n] = feasibility.gpu_short(wants, self.nodes.views[n].gpus) == 0
        return room

    def decision(self, nodes: Chosen, why: Callable[[int], str]) -> Decision:
        """Return the placement as a decision. *why*: for each handler."""
        ids, entry = self.nodes.ids, self.entry(nodes)
        outcome = self.outcome(nodes)
        return Decision(
            variant=self.variant,
            placement=Placement(nodes={h: tuple(ids[n] for n in nodes[h]) for h in self.order}, entry_node=ids[entry]),
            predicted=predicted(outcome, self.variant, priced=self.costs.model.priced),
            explanation=tuple(self._explanation(h, nodes[h], why(h)) for h in self.order),
        )

    def refuse(self, nodes: Chosen) -> Unplaceable:
        """Return the refusal for a placement that memory does not allow, with what each node lacks."""
        reasons = {}
        for i, view in enumerate(self.nodes.views):
            wants = sum(self.memory[h] for h, places in nodes.items() if i in places and not self.stays(h, i))
            of_gpu = self._gpu_wants(nodes, i)
            if of_gpu and feasibility.gpu_short(of_gpu, view.gpus) > 0:
                reasons[view.node_id] = f"needs {sum(of_gpu):.0f} MiB of GPUs, {_mib(view.gpus)} are free"
            elif view.mem_total and wants > view.mem_free:
                reasons[view.node_id] = f"needs {wants:.0f} MiB, {view.mem_free:.0f} MiB are free"
            else:
                reasons[view.node_id] = view.refuses or f"{view.mem_free:.0f} MiB are free"
        whole, gpu = sum(self.memory.values()), sum(self.gpu.values())
        words = f"{whole:.0f} MiB" + (f" and {gpu:.0f} MiB of GPUs" if gpu else "")
        return Unplaceable(f"the handlers want {words}, which no sharing out over the nodes gives", reasons)

    def _explanation(self, handler: int, nodes: Sequence[int], why: str) -> Explanation:
        spec = self.variant.topology.handlers[handler]
        view = self.types.get(spec.handler_type)
        name = spec.handler_name or (view.name if view else "")
        ids = tuple(self.nodes.ids[n] for n in nodes)
        return Explanation(handler_id=handler, handler_type=spec.handler_type, name=name, nodes=ids, why=why)

    def _may(self) -> Bools:
        """Return for each handler, in order, and node what feasibility.reason says of it, at once."""
        nodes, handlers = self.nodes, self.variant.topology.handlers
        may = np.array([nodes.available(handlers[h].handler_type) for h in self.order])
        if self.request.labels:
            may &= nodes.labelled(self.request.labels)
        takes = nodes.takes & (nodes.mem_free >= np.array([self.memory[h] for h in self.order])[:, None])
        for row, handler in enumerate(self.order):
            if handler in self.gpu:
                takes[row] &= nodes.gpu_mem_free >= self.gpu[handler]
            if self.current:
                takes[row, self._at(self._current(handler))] = True
            pins = self.request.pins.get(handler)
            if pins:
                may[row, np.delete(np.arange(len(nodes)), self._at(pins))] = False
        return may & takes

    def _at(self, node_ids: Iterable[int]) -> list[int]:
        """Return the indices of those that are known."""
        return [self.nodes.index[n] for n in node_ids if n in self.nodes.index]

    def _resources(self) -> list[Resource]:
        """Return memory and the sum of the GPUs', where any handler wants some."""
        found = [Resource(self._needs(self.memory), self.nodes.mem_free)] if any(self.memory.values()) else []
        if any(self.gpu.values()):
            found.append(Resource(self._needs(self.gpu), self.nodes.gpu_mem_sum))
        return found

    def _needs(self, wants: Mapping[int, float]) -> dict[int, Floats | float]:
        """Return what each handler wants; what runs somewhere already needs no more there."""
        needs: dict[int, Floats | float] = {h: wants.get(h, 0.0) for h in self.order}
        for handler in self.order:
            kept = self._at(self._current(handler)) if self.current else ()
            if kept:
                needs[handler] = need = np.full(len(self.nodes), wants.get(handler, 0.0))
                need[kept] = 0.0
        return needs

    def stays(self, handler: int, node: int) -> bool:
        """Return True when the handler runs on that node (index) already."""
        return self.current is not None and self.nodes.ids[node] in self._current(handler)

    def _current(self, handler: int) -> tuple[int, ...]:
        return self.current.nodes.get(handler, ()) if self.current else ()

    def _fixed(self, node_id: int) -> int:
        """Return the index of the entry node that was asked for. Raises Unplaceable."""
        index = self.nodes.index.get(node_id)
        if index is None:
            raise Unplaceable("the entry node takes no sessions", {node_id: "not a known node"})
        return index


def _mib(gpus: Sequence[float]) -> str:
    return " + ".join(f"{mib:.0f}" for mib in gpus) or "none"
