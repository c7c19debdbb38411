"""What the coordinator keeps of a session and of a node: the rows of its tables, as values."""

from enum import IntEnum
from typing import Any

import msgspec
from msgspec import Struct

from coordinator.sessions import State
from wire.messages import Books, Graph, Heartbeat, ResultSpec, SessionRequest


class Cordon(IntEnum):
    """Whether a node takes new handlers, and whether what it has moves away."""

    OPEN, CORDONED, DRAINING = 0, 1, 2


class NodeAddress(Struct, frozen=True, kw_only=True):
    """A node as it was when the plan was made: a new boot_id means that all its processes are gone."""

    control_url: str
    data_url: str
    boot_id: str


class Explained(Struct, frozen=True, kw_only=True):
    """Why a handler is where it is (see coordinator.allocation.base.Explanation)."""

    handler_id: int
    handler_type: int
    name: str
    node_ids: list[int]
    why: str
    others: dict[int, str] = {}


class Prediction(Struct, frozen=True, kw_only=True):
    """What was expected when the session was placed. basis: measured, prior (profiles only) or mixed."""

    latency_ms: float
    fps: float | None
    accuracy: float | None
    basis: str
    compute_ms: float = 0.0  # the latency's three parts
    wait_ms: float = 0.0
    transfer_ms: float = 0.0
    cost_per_1000: float | None = None  # of 1,000 frames, where nodes have a price
    joules: float | None = None  # per frame


class Planned(Struct, frozen=True, kw_only=True):
    """A placement with all that is needed to tell it to nodes again: column `plan`."""

    graph: Graph
    results: list[ResultSpec]
    entry_handler: int
    entry_node: int
    placement: dict[int, list[int]]
    nodes: dict[int, NodeAddress]
    algorithm: str
    predicted: Prediction
    explanation: list[Explained]
    passed_over: dict[str, str] = {}
    first_sequence: int = 0  # where the entry's numbers begin
    past_books: Books | None = None  # of the entries before

    def used(self) -> set[int]:
        """Return every node that holds a part of the session."""
        return {n for nodes in self.placement.values() for n in nodes} | {self.entry_node}


class Asked(SessionRequest, frozen=True, kw_only=True):
    """What was asked for, and by whom: column `request`."""

    owner: str | None = None  # the name of the client's token; None: an operator's, or of no one in particular


class SessionRecord(Struct, frozen=True, kw_only=True):
    """A row of `sessions`."""

    session_id: int
    session_key: str
    service: str
    variant: str
    state: State
    epoch: int
    accept_from: int
    request: SessionRequest
    plan: Planned
    created: float  # s since the epoch
    updated: float
    reason: str | None = None

    @property
    def owner(self) -> str | None:
        """The name of the client's token that made it; clients see their own sessions alone."""
        return self.request.owner if isinstance(self.request, Asked) else None


class NodeRecord(Struct, frozen=True, kw_only=True):
    """A row of `nodes`."""

    node_id: int
    heartbeat: Heartbeat
    last_seen: float  # s since the epoch, by the coordinator's clock
    cordoned: Cordon = Cordon.OPEN


class EventRecord(Struct, frozen=True, kw_only=True):
    """A row of `session_events`, and an item of GET /sessions/<id>/events."""

    event_id: int
    timestamp: float
    session_id: int
    event: str
    detail: dict[str, Any]


def addresses(nodes: dict[int, Heartbeat]) -> dict[int, NodeAddress]:
    """Return where those nodes are, as their heartbeats say."""
    return {n: NodeAddress(control_url=h.control_url, data_url=h.data_url, boot_id=h.boot_id) for n, h in nodes.items()}


replace = msgspec.structs.replace
