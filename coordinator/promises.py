"""What the running sessions were promised and what is measured of them, for admission and rebalancing. Pure."""

from collections.abc import Iterable, Mapping
from functools import lru_cache

import msgspec

from coordinator.allocation.base import Variant
from coordinator.allocation.loads import Promise
from coordinator.records import SessionRecord
from coordinator.sessions import PLACED
from coordinator.snapshot import placement
from wire.graph import Topology
from wire.messages import Graph, Heartbeat, NodeSession, Objective

GRAPHS = 4096  # kept: sessions of one variant share theirs

Ports = Mapping[int, tuple[int, int]]


def promises(sessions: Iterable[SessionRecord], alive: Mapping[int, Heartbeat], ports: Ports) -> list[Promise]:
    """Return the promises of the sessions that are placed. alive: the latest heartbeat of each node that is up."""
    rates = entries(alive)
    return [_promise(s, rates.get((s.session_id, s.epoch)), ports) for s in sessions if s.state in PLACED]


def entries(alive: Mapping[int, Heartbeat]) -> dict[tuple[int, int], NodeSession]:
    """Return (session_id, epoch) -> what the session's entry says of it."""
    return {(held.session_id, held.epoch): held for beat in alive.values() for held in beat.sessions if held.entry}


def variant(session: SessionRecord, ports: Ports) -> Variant:
    """Return the variant that *session* runs: its own graph, whatever the files say by now."""
    return Variant(
        variant_name=session.variant,
        accuracy=session.plan.predicted.accuracy,
        topology=_topology(msgspec.json.encode(session.plan.graph), tuple(sorted(ports.items()))),
    )


def _promise(session: SessionRecord, entry: NodeSession | None, ports: Ports) -> Promise:
    return Promise(
        session_id=session.session_id,
        variant=variant(session, ports),
        placement=placement(session),
        objective=session.request.objective or Objective(),
        priority=session.request.priority,
        fps=entry.fps if entry else None,
    )


@lru_cache(GRAPHS)
def _topology(graph: bytes, ports: tuple[tuple[int, tuple[int, int]], ...]) -> Topology:
    return Topology(msgspec.json.decode(graph, type=Graph), dict(ports))
