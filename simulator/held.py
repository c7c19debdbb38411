"""A session as the simulated coordinator holds it."""

from dataclasses import dataclass, field
from enum import StrEnum

from coordinator.allocation.base import Placement, Predicted, Variant, Work
from simulator.node import Process
from simulator.scenario import Clients
from simulator.session import Plan, Session


class State(StrEnum):
    """Of a session: its models load, it runs, a handler is down, or nobody took it."""

    STARTING, RUNNING, DEGRADED, REFUSED, ENDED = "starting", "running", "degraded", "refused", "ended"


@dataclass(eq=False)
class Held:
    """number: from 0 in the order of the scenario. moves: when (s) it moved to be better off."""

    number: int
    clients: Clients
    session: Session
    entry_node: int | None  # where its client is
    state: State = State.STARTING
    variant: Variant | None = None
    placement: Placement | None = None
    promised: tuple[Variant, Placement] | None = None  # as decided, from then on
    predicted: Predicted | None = None
    fps: float | None = None  # answered, in the last seconds
    processes: dict[tuple[int, int], Process] = field(default_factory=dict)  # (handler, node)
    works: dict[int, tuple[Work, float]] = field(default_factory=dict)  # handler -> work, MiB
    leaving: list[Plan] = field(default_factory=list)  # plans that it moved away from, until their frames are through
    pending: dict[int, int] | None = None  # nodes of the placement whose models load now -> which boot they had
    attempt: int = 0
    moves: list[float] = field(default_factory=list)
    results: list[tuple[float, float]] = field(default_factory=list)  # when heard of, and latency, s: the latest
    refusals: int = 0
    sequence: int = 0
    again: float = 0.0  # s, when a refused client asks again or a repair is tried again
    tried: int = 0  # repairs that failed in a row

    @property
    def limit_s(self) -> float | None:
        """Within which a frame is to be answered."""
        limit = self.clients.objective.max_latency_ms
        return None if limit is None else limit / 1000
