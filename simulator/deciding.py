"""Decisions on the simulated clock, made as the coordinator makes them: by its algorithms, under its admission."""

import time
from collections.abc import Mapping
from functools import partial

from coordinator.admission import admit
from coordinator.allocation import load_algorithms
from coordinator.allocation.base import Decision, Placement, Predicted, Request, Snapshot
from coordinator.allocation.decide import decide
from coordinator.allocation.loads import Loads, Promise
from coordinator.allocation.predict import predict
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
        begun = time.process_time()
        try:
            one = partial(self._one, held)
            return admit(one, request, self._snapshot(), self._promises(), held.clients.priority, advise=False).decision
        finally:
            self.took.append(time.process_time() - begun)

    def decide(self, held: Held, request: Request, current: Placement | None = None) -> Decision:
        """Return a place, whatever others were promised; what they keep busy is known. Raises Unplaceable."""
        begun = time.process_time()
        try:
            return self._one(held, request, self._without(held), current)
        finally:
            self.took.append(time.process_time() - begun)

    def predict(self, held: Held, request: Request) -> Predicted:
        """Return what is expected of the session where it is."""
        assert held.placement is not None and held.variant is not None  # noqa: S101 - a session that runs has both
        return predict(held.variant, held.placement, self._without(held), request)

    def _without(self, held: Held) -> Snapshot:
        """Return the world as it is for *held*: its own load does not stand in its way."""
        own = {held.number} if held.promised is not None else set()
        return Loads(self._snapshot(), self._promises()).under(without=own)

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
