"""Decisions on the simulated clock, made as the coordinator makes them: by its algorithms, under its admission."""

import time
from collections.abc import Callable, Mapping
from functools import partial

from coordinator.admission import admit, view
from coordinator.allocation import load_algorithms
from coordinator.allocation.base import Decision, NodeView, Placement, Predicted, Request, Snapshot, TypeView
from coordinator.allocation.decide import decide
from coordinator.allocation.loads import Loads, Promise, without
from coordinator.allocation.predict import predict
from coordinator.elsewhere import Alternatives, better, replacement
from simulator import asking
from simulator.held import Held
from simulator.telemetry import Telemetry


class Decider:
    """took: CPU seconds of each decision, the only figure that is not simulated."""

    def __init__(self, telemetry: Telemetry, algorithm: str, held: Mapping[int, Held]) -> None:
        self._telemetry, self._default, self._held = telemetry, algorithm, held
        self._algorithms = load_algorithms({})
        self.down: dict[int, str] = {}  # nodes noticed to be down, with the reason
        self._known: Snapshot | None = None
        self.took: list[float] = []

    def forget(self) -> None:
        """Something changed: loads, nodes, or links."""
        self._known = None

    def admit(self, held: Held, request: Request) -> Decision:
        """Return a place for a newcomer that breaks no promise. Raises Unplaceable."""
        one, priority = partial(self._one, held), held.clients.priority
        world, promises = self._snapshot(), self._promises()
        return self._timed(lambda: admit(one, request, world, promises, priority, advise=False).decision)

    def decide(self, held: Held, request: Request) -> Decision:
        """Return a place for a newcomer, whatever others were promised. Raises Unplaceable."""
        return self._timed(lambda: self._one(held, request, Loads(self._snapshot(), self._promises()).under()))

    def replacement(self, held: Held, request: Request, current: Placement) -> Decision:
        """Return another place for what the session has lost, where that breaks nobody's promise if there is such a
        place. Raises Unplaceable.
        """
        world, others = self._elsewhere(held)
        choose = partial(self._one, held, current=current)
        return self._timed(lambda: replacement(choose, Alternatives(own=request), world, others, held.clients.priority))

    def better(self, held: Held, request: Request, *, broken: bool) -> tuple[Predicted, Decision]:
        """Return what is expected where the session is, and the best place that breaks nobody's promise. Raises
        Unplaceable.
        """
        assert held.placement is not None and held.variant is not None  # noqa: S101 - a session that runs has both
        world, others = self._elsewhere(held)
        priority, here = held.clients.priority, held.placement
        now = predict(held.variant, here, view(world, others, priority), request)
        choose, asked = partial(self._one, held, current=here), Alternatives(own=request)
        at = here if broken else None
        return now, self._timed(lambda: better(choose, asked, world, others, priority, broken_at=at))

    def nodes(self) -> Mapping[int, NodeView]:
        """Return what is known of the nodes."""
        return self._snapshot().nodes

    @property
    def types(self) -> Mapping[int, TypeView]:
        """What is known of the handler types."""
        return self._snapshot().types

    def _elsewhere(self, held: Held) -> tuple[Snapshot, list[Promise]]:
        """Return the world without the session's own load, and what the others were promised."""
        everyone = {p.session_id: p for p in self._promises()}
        own, world = everyone.pop(held.number, None), self._snapshot()
        return (without(world, own) if own is not None else world), list(everyone.values())

    def _timed(self, decide: Callable[[], Decision]) -> Decision:
        begun = time.process_time()
        try:
            return decide()
        finally:
            self.took.append(time.process_time() - begun)

    def _one(self, held: Held, request: Request, world: Snapshot, current: Placement | None = None) -> Decision:
        name = held.clients.algorithm or self._default
        return decide(self._algorithms[name], request, world, current, name=name)

    def _snapshot(self) -> Snapshot:
        if self._known is None:
            self._known = self._telemetry.snapshot(self.down, asking.placements(self._held))
        return self._known

    def _promises(self) -> list[Promise]:
        return [
            Promise(
                session_id=h.number,
                variant=h.promised[0],
                placement=h.promised[1],
                objective=asking.objective(h, self._telemetry.control),
                priority=h.clients.priority,
                fps=h.fps,
            )
            for h in self._held.values()
            if h.promised is not None
        ]
