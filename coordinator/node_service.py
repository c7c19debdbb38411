"""What the API does with nodes: heartbeats and their answers, lists, cordons."""

import time

from coordinator import planner, present
from coordinator.placing import Parts
from coordinator.problems import UnknownNode
from coordinator.records import Cordon, SessionRecord, replace
from coordinator.registry import NotRegistered
from wire.messages import Heartbeat, HeartbeatAnswer, NodeSession, Running, WantedSession
from wire.web import Forbidden, Unprocessable

Json = dict[str, object]

AS_REPORTED = {s: s for s in (Running.INITIALIZED, Running.RUNNING, Running.STOPPED)}


class Nodes:
    """The nodes' side of the API."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def heard(self, node_id: int, beat: Heartbeat) -> HeartbeatAnswer:
        """Note a heartbeat and return what the node should hold. In memory only: it works without the database.

        What was read from the database too long ago ends and stops nothing: another coordinator may know better.
        """
        received = time.time()
        if beat.node_id != node_id:
            raise Unprocessable(
                f"the body is of node {beat.node_id}, the address of node {node_id}", pointer="/node_id"
            )
        try:
            self._parts.registry.heard(beat, time.monotonic(), received)
        except NotRegistered as error:
            raise Forbidden(str(error)) from error
        reported = {s.session_id: s for s in beat.sessions}
        held = [s for s in self._parts.held.all() if node_id in s.plan.used()]
        wanted = [self._wanted(s, beat, reported.get(s.session_id)) for s in held]
        wanted += self._in_change(beat, {s.session_id for s in held})
        return HeartbeatAnswer(sessions=wanted, received=received, answered=time.time())

    def _in_change(self, beat: Heartbeat, named: set[int]) -> list[WantedSession]:
        """Return the sessions that *beat* names as it names them while they come to that node, or may have come."""
        stale = not self._parts.held.fresh
        return [
            WantedSession(session_id=s.session_id, epoch=s.epoch, state=_as_reported(s))
            for s in beat.sessions
            if s.session_id not in named and (stale or self._parts.locks.busy(s.session_id))
        ]

    def all(self) -> list[Json]:
        """Return all nodes, heard or named by a file, by id."""
        there: dict[int, list[SessionRecord]] = {}
        for session in self._parts.held.all():
            for node_id in session.plan.used():
                there.setdefault(node_id, []).append(session)
        registry = self._parts.registry
        found = {n.node_id: present.silent_node(n) for n in self._parts.catalogue.nodes}
        for record in registry.records():
            state = registry.state(record.node_id)
            found[record.node_id] = present.node(record, state, there.get(record.node_id, []))
        return [found[node_id] for node_id in sorted(found)]

    def get(self, node_id: int) -> Json:
        """Return a node. Raises UnknownNode."""
        for record in self._parts.registry.records():
            if record.node_id == node_id:
                return present.node(record, self._parts.registry.state(node_id), self._parts.held.all())
        for file in self._parts.catalogue.nodes:
            if file.node_id == node_id:
                return present.silent_node(file)
        raise UnknownNode(f"there is no node {node_id}")

    def cordon(self, node_id: int, cordon: Cordon) -> Json:
        """Let a node take new handlers, or not; the controller moves away what a draining one has."""
        found = [r for r in self._parts.registry.records() if r.node_id == node_id]
        if not found:
            self.get(node_id)
            raise UnknownNode(f"node {node_id} was never heard")
        self._parts.store.set_cordon(found[0], cordon)
        self._parts.registry.set_cordon(node_id, cordon)
        return self.get(node_id)

    def _wanted(self, session: SessionRecord, beat: Heartbeat, reported: NodeSession | None) -> WantedSession:
        """Return the answer; without the plan while it is just being sent, or made for the node's former life."""
        wanted = planner.wanted(session, beat.node_id, reported)
        if reported is not None and reported.epoch == session.epoch and not self._parts.held.fresh:
            return replace(wanted, state=_as_reported(reported))
        stale = session.plan.nodes[beat.node_id].boot_id != beat.boot_id
        return replace(wanted, plan=None) if stale or self._parts.locks.busy(session.session_id) else wanted


def _as_reported(session: NodeSession) -> Running:
    """Return the state that a node has, or what it comes to by itself."""
    return AS_REPORTED.get(session.state, Running.INITIALIZED)
