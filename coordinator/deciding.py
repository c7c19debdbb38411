"""Decisions with what is known now: the snapshot, the algorithm by its name, admission."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from coordinator import planner, snapshot
from coordinator.admission import Admitted, Refused, admit, breaks
from coordinator.allocation.base import Decision, Placement, Request, Snapshot, Variant
from coordinator.allocation.decide import decide
from coordinator.allocation.loads import Loads, Promise, without
from coordinator.elsewhere import Alternatives, replacement
from coordinator.placing import Parts
from coordinator.promises import promises
from coordinator.records import Planned, SessionRecord, addresses
from coordinator.repair import same_there
from coordinator.snapshot import NodeStatus


class Offer(NamedTuple):
    """A newcomer's place, with what was known when it was chosen."""

    admitted: Admitted
    plan: Planned
    world: Snapshot


class Decider:
    """Thread-safe; raises DatabaseAway where the telemetry cannot be read."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def snapshot(self, avoid: Mapping[int, str] | None = None) -> Snapshot:
        """Return what an algorithm may look at; *avoid*: nodes to refuse now, with the reason."""
        parts, now, avoid = self._parts, time.time(), avoid or {}
        status = parts.registry.status()
        nodes = {n: NodeStatus(heartbeat=s.heartbeat, refuses=avoid.get(n, s.refuses)) for n, s in status.items()}
        samples = parts.store.samples(now - snapshot.FRESH_S)
        sessions = parts.held.all()
        known = parts.store.history.known(sessions, now)
        return snapshot.build(nodes, parts.catalogue.views, sessions, samples, now, known, parts.usual.times())

    def promises(self, but: int | None = None) -> list[Promise]:
        """Return what the running sessions were promised, all *but* one."""
        sessions = [s for s in self._parts.held.all() if s.session_id != but]
        return promises(sessions, self._parts.registry.alive(), self._parts.catalogue.ports)

    def decide(
        self,
        algorithm: str,
        request: Request,
        current: Placement | None = None,
        world: Snapshot | None = None,
    ) -> tuple[Decision, Planned]:
        """Return the decision and the plan made of it, whatever others were promised. Raises Unplaceable."""
        decision = self._one(algorithm, request, world or self.snapshot(), current)
        return decision, self.plan(decision, algorithm)

    def replacement(
        self, session: SessionRecord, algorithm: str, asked: Alternatives, current: Placement
    ) -> tuple[Decision, Planned]:
        """Return another place for what *session* has lost or has to leave, where that breaks nobody's promise if
        there is such a place. Raises Unplaceable.
        """
        world, everyone = self.snapshot(), {p.session_id: p for p in self.promises()}
        own = everyone.pop(session.session_id, None)
        if own is not None and own.placement.used() <= world.nodes.keys():
            world = without(world, own)

        def choose(wish: Request, there: Snapshot) -> Decision:
            return self._one(algorithm, wish, there, same_there(session, current, wish.variants))

        decision = replacement(choose, asked, world, list(everyone.values()), session.request.priority)
        return decision, self.plan(decision, algorithm)

    def admit(
        self,
        algorithm: str,
        request: Request,
        priority: int,
        avoid: Mapping[int, str] | None = None,
        others: Sequence[Variant] = (),
        but: int | None = None,
    ) -> Offer:
        """Return a place for a new session that breaks no promise of its priority or above. Raises Refused,
        Unplaceable. others: the service's variants that were not asked for; but: the session itself, where it is known.
        """
        world = self.snapshot(avoid)
        admitted = admit(partial(self._one, algorithm), request, world, self.promises(but), priority, others)
        return Offer(admitted, self.plan(admitted.decision, algorithm), world)

    def confirm(self, offer: Offer, request: Request, priority: int) -> None:
        """Raise Refused when sessions that came meanwhile make *offer* break a promise."""
        found = breaks(offer.admitted.decision, request, Loads(offer.world, self.promises()))
        wrong = tuple(b for b in found if b.priority >= priority)
        if wrong:
            raise Refused(wrong, (), {n: b.why for b in wrong for n in b.node_ids})

    def plan(self, decision: Decision, algorithm: str) -> Planned:
        """Return *decision* as it is kept."""
        nodes = addresses({n: s.heartbeat for n, s in self._parts.registry.status().items()})
        return planner.plan(decision, algorithm, nodes)

    def _one(self, algorithm: str, request: Request, world: Snapshot, current: Placement | None = None) -> Decision:
        return decide(self._parts.algorithms[algorithm], request, world, current, name=algorithm)
