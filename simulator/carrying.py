"""Carrying a placement out: models load on the nodes, then the session's frames take the new way."""

from collections.abc import Callable

from coordinator.allocation.base import Decision, Placement, work
from simulator.held import Held, State
from simulator.node import Process
from simulator.session import Plan
from simulator.world import World


class Loading:
    """Models of one placement that load, each on a core of its node; then calls *ready*."""

    def __init__(self, count: int, ready: Callable[[], None]) -> None:
        self._left, self._ready = count, ready

    def computed(self) -> None:
        """One is there."""
        self._left -= 1
        if self._left == 0:
            self._ready()


class Carrier:
    """Starts processes and gives sessions their plans."""

    def __init__(self, world: World) -> None:
        self._world = world

    def begin(self, held: Held, decision: Decision) -> bool:
        """Load what is missing, then have the session follow. Return False when a node does not answer."""
        placement = decision.placement
        if not all(self._world.nodes[n].up for n in placement.used()):
            return False
        held.attempt += 1
        held.promised = decision.variant, placement
        attempt = held.attempt
        held.pending = {n: self._world.nodes[n].boots for n in placement.used()}
        new = [
            (h, n)
            for h, places in placement.nodes.items()
            for n in places
            if (h, n) not in held.processes or not held.processes[h, n].alive
        ]
        loading = Loading(len(new), lambda: self._finish(held, decision, attempt))
        handlers = decision.variant.topology.handlers
        for h, n in new:
            self._world.nodes[n].begin(loading, self._world.kinds[handlers[h].handler_type].load_ms / 1000)
        if not new:
            self._finish(held, decision, attempt)
        return True

    def _finish(self, held: Held, decision: Decision, attempt: int) -> None:
        if held.attempt != attempt or held.state is State.ENDED:
            return  # another decision was made meanwhile
        held.pending = None
        variant, placement = decision.variant, decision.placement
        old = held.placement
        held.works = {
            h: (work(spec), self._world.types[spec.handler_type].memory_mib or 0.0)
            for h, spec in variant.topology.handlers.items()
        }
        plan = self._plan(held, decision)
        lost = old is not None and (held.session.plan is None or not self._stands(held.session.plan))
        entry_lost = old is not None and held.session.plan is None
        if held.session.plan is not None and not lost:
            held.leaving.append(held.session.plan)
            held.session.follow(plan)
        else:
            held.session.replace(plan, entry_lost=entry_lost)
        held.variant, held.placement, held.predicted = variant, placement, decision.predicted
        held.state = State.RUNNING

    def _plan(self, held: Held, decision: Decision) -> Plan:
        variant, placement = decision.variant, decision.placement
        routes: dict[int, list[Process]] = {}
        for h, places in placement.nodes.items():
            routes[h] = [self._process(held, variant.topology.handlers[h].handler_id, n, decision) for n in places]
        return Plan(self._world.shapes[held.clients.service, variant.variant_name], placement.entry_node, routes)

    def _process(self, held: Held, handler: int, node_id: int, decision: Decision) -> Process:
        known = held.processes.get((handler, node_id))
        same = held.variant is None or held.variant.variant_name == decision.variant.variant_name
        if known is not None and known.alive and same:
            return known
        spec = decision.variant.topology.handlers[handler]
        made = self._world.process(held.number, held.clients, spec, node_id, held.session.done)
        held.processes[handler, node_id] = made
        return made

    @staticmethod
    def _stands(plan: Plan) -> bool:
        return all(p.alive for places in plan.routes.values() for p in places)

    def settle(self, held: Held) -> None:
        """End the processes that no plan of the session needs any more."""
        plan = held.session.plan
        if plan is None or held.pending is not None:
            return
        needed = {id(p) for places in plan.routes.values() for p in places}
        held.leaving = [p for p in held.leaving if any(q.outstanding for ps in p.routes.values() for q in ps)]
        for old in held.leaving:
            needed |= {id(p) for places in old.routes.values() for p in places}
        held.processes = {key: p for key, p in held.processes.items() if id(p) in needed}


def used(placement: Placement | None) -> set[int]:
    """Return the nodes of a placement, none without one."""
    return placement.used() if placement is not None else set()
