"""Carrying a placement out on the nodes."""

import logging
import secrets
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from coordinator import counters
from coordinator.accounts import GAP, carried, handed_over, same_entry
from coordinator.allocation.base import Algorithm
from coordinator.catalogue import Catalogue
from coordinator.galleries import Galleries
from coordinator.held import Held, Locks
from coordinator.peers import Failure, Peers, reasons
from coordinator.records import NodeAddress, Planned, SessionRecord, replace
from coordinator.registry import Registry
from coordinator.repair import lost_nodes, moves
from coordinator.sessions import Event, State, transition
from coordinator.store import StaleEpoch, Store
from coordinator.usual import Usual
from wire.database import DatabaseAway
from wire.settings import CoordinatorSettings

SETTLE_S = 2.0  # after a planned move: how long frames of the old epoch may take to pass
BACKGROUND_THREADS = 8

logger = logging.getLogger(__name__)


class MoveFailed(Exception):
    """Nodes did not take the new placement."""

    def __init__(self, failures: dict[int, Failure]) -> None:
        self.failures = failures
        super().__init__("; ".join(f"node {n}: {why}" for n, why in reasons(failures).items()))


@dataclass
class Parts:
    """What the views' services and the controller share; all of it is thread-safe."""

    settings: CoordinatorSettings
    catalogue: Catalogue
    algorithms: Mapping[str, Algorithm]
    registry: Registry
    store: Store
    peers: Peers
    galleries: Galleries
    held: Held = field(default_factory=Held)
    locks: Locks = field(default_factory=Locks)
    usual: Usual = field(default_factory=Usual)
    admission: threading.Lock = field(default_factory=threading.Lock)  # of two newcomers the second sees the first
    displaced: SimpleQueue[int] = field(default_factory=SimpleQueue)  # sessions that one of a higher priority hurts
    closing: threading.Event = field(default_factory=threading.Event)
    wake: threading.Event = field(default_factory=threading.Event)  # the controller shall look at once


class Placer:
    """Writes, prepares and moves sessions. The caller holds the session's lock."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.background = ThreadPoolExecutor(BACKGROUND_THREADS, thread_name_prefix="placer")
        # session_id -> when a planned move was done (monotonic s), the nodes it has left, which its end frees
        self._left: dict[int, tuple[float, dict[int, NodeAddress]]] = {}

    def change(self, session: SessionRecord, **changes: Any) -> SessionRecord:
        """Write *session* with *changes* and return it. Raises StaleEpoch, DatabaseAway."""
        changed = replace(session, updated=time.time(), **changes)
        self._parts.store.write_session(changed, session)
        self._parts.held.put(changed)
        return changed

    def event(self, session: SessionRecord, event: str, **detail: Any) -> None:
        """Append to the session's history."""
        self._parts.store.add_event(session.session_id, event, detail)
        counters.EVENTS.labels(event).inc()

    def stop(self, session: SessionRecord, **detail: Any) -> SessionRecord:
        """Stop *session* on all its nodes; one that is away follows by its heartbeat's answer.

        Raises InvalidTransition, StaleEpoch, DatabaseAway.
        """
        stopped = self.change(session, state=transition(session.state, Event.STOP))
        self.event(stopped, "stopped", **detail)
        self._parts.peers.stop(stopped)
        return stopped

    def replaced(self, session: SessionRecord, plan: Planned, why: str, **changes: Any) -> SessionRecord:
        """Place *session* as *plan* says, after a loss: the old epoch is refused at once. Raises MoveFailed."""
        epoch = session.epoch + 1
        plan = self._carried(session, plan, "entry_lost")
        moved = self.change(session, plan=plan, epoch=epoch, accept_from=epoch, **changes)
        failures = self._prepare_all(session, moved)
        if failures:
            raise MoveFailed(failures)
        if session.state is not State.INITIALIZED:
            self._parts.peers.start(moved)
        self._tell(session, moved, why)
        state = transition(moved.state, Event.RECOVER)
        moved = self.change(moved, state=state, reason=None)
        self._leave(session, moved)
        return moved

    def moved(self, session: SessionRecord, plan: Planned, why: str, **changes: Any) -> SessionRecord:
        """Move *session* to *plan* while it runs. Raises MoveFailed; the session then is where it was, at a later epoch
        once something was written.

        New nodes prepare first. The old epoch stays welcome until it has passed, which settle() ends; where the graph
        is another, the entry sends what is unanswered again at once, through the new graph.
        """
        if not same_entry(session.plan, plan):
            return self._entry_moved(session, plan, why, **changes)
        draft = self._drafted(session, plan)
        epoch = session.epoch + 2
        accept_from = session.epoch if session.plan.graph == plan.graph else epoch
        plan = self._carried(session, plan, "entry_moved")
        try:
            moved = self.change(session, plan=plan, epoch=epoch, accept_from=accept_from, **changes)
        except (DatabaseAway, StaleEpoch):
            self._free(draft, draft.plan.used() - session.plan.used())
            raise
        if failures := self._prepare_all(session, moved):
            self._undo(moved, session)
            raise MoveFailed(failures)
        return self._arrived(session, moved, why)

    def passed(self, session: SessionRecord) -> bool:
        """Return True when an older epoch is welcome still, and its frames have had their time to pass."""
        since, _ = self._left.get(session.session_id, (float("-inf"), {}))
        over = time.monotonic() - since >= SETTLE_S and time.time() - session.updated >= SETTLE_S
        return session.accept_from < session.epoch and over

    def settle(self, session: SessionRecord) -> None:
        """End a planned move: refuse the older epochs, and free the nodes that were left.

        It is written once all nodes do so: until then it is tried again. Raises MoveFailed, StaleEpoch, DatabaseAway.
        """
        settled = replace(session, accept_from=session.epoch)
        there = settled.plan.used() - lost_nodes(settled.plan, self._parts.registry.alive()).keys()
        if failures := self._parts.peers.prepare(settled, there):
            raise MoveFailed(failures)
        settled = self.change(session, accept_from=session.epoch)
        self._leave(session, settled)

    def _entry_moved(self, session: SessionRecord, plan: Planned, why: str, **changes: Any) -> SessionRecord:
        """Move *session* with its entry: new nodes prepare, the old entry finishes what is in flight where it is, the
        new one goes on with its numbers. Raises MoveFailed; the session then is where it was.

        Nothing is written before the old entry's last word: until then a coordinator that dies has changed nothing.
        The old entry's node is told last, since its books end then. From there nothing leads back: should it not
        answer, nobody knows whether they have ended, so they are the ones it gave, and the controller mends the rest.
        """
        draft, old_entry = self._drafted(session, plan), session.plan.entry_node
        new = draft.plan.used() - session.plan.used()
        final = self._parts.peers.hand_over(session)
        plan = handed_over(session.plan, plan, final) if final else self._carried(session, plan, "entry_moved")
        epoch = session.epoch + 2
        try:
            moved = self.change(session, plan=plan, epoch=epoch, accept_from=epoch, **changes)
        except (DatabaseAway, StaleEpoch):
            self._parts.peers.prepare(session, [old_entry])  # the old entry goes on
            self._free(draft, new)
            raise
        if failures := self._parts.peers.prepare(moved, moved.plan.used() - {old_entry}):
            numbers_on = replace(session.plan, first_sequence=plan.first_sequence + GAP)
            self._undo(moved, replace(session, plan=numbers_on))
            raise MoveFailed(failures)
        if failures := self._parts.peers.prepare(moved, moved.plan.used() & {old_entry}):
            reason = str(MoveFailed(failures))
            moved = self.change(moved, state=transition(moved.state, Event.LOSE), reason=reason)
            self.event(moved, "degraded", why=reason)
        return self._arrived(session, moved, why)

    def _drafted(self, session: SessionRecord, plan: Planned) -> SessionRecord:
        """Have new nodes prepare under *plan*, which is written nowhere yet. Raises MoveFailed."""
        new = plan.used() - session.plan.used()
        draft = replace(session, plan=plan, epoch=session.epoch + 1)
        if failures := self._parts.peers.prepare(draft, new):
            self._free(draft, new)
            raise MoveFailed(failures)
        return draft

    def _arrived(self, session: SessionRecord, moved: SessionRecord, why: str) -> SessionRecord:
        """Start the session where it is now, tell of it, and leave the nodes that it does not use any more."""
        if session.state in (State.RUNNING, State.DEGRADED):
            self._parts.peers.start(moved)
        self._leave(session, moved)
        self._tell(session, moved, why)
        return moved

    def _prepare_all(self, session: SessionRecord, moved: SessionRecord) -> dict[int, Failure]:
        """Bring all nodes to their plans, some of them last: where the graph is another, the entry's, since what it
        sends by the new one must meet nobody who goes by the old one; in a planned move those that send to new nodes.
        """
        peers, used = self._parts.peers, moved.plan.used()
        last = set[int]()
        if session.plan.graph != moved.plan.graph:
            last = {moved.plan.entry_node}
        elif moved.accept_from < moved.epoch:
            last = used & session.plan.used()
        return peers.prepare(moved, used - last) or peers.prepare(moved, last)

    def _tell(self, session: SessionRecord, moved: SessionRecord, why: str) -> None:
        """Note in the history what is where now, and as which variant where that is another."""
        other = {"variant": {"from": session.variant, "to": moved.variant}} if session.variant != moved.variant else {}
        self.event(moved, "moved", why=why, moves=moves(session.plan, moved.plan), epoch=moved.epoch, **other)

    def close(self) -> None:
        """Wait for no one."""
        self.background.shutdown(wait=False, cancel_futures=True)

    def _carried(self, session: SessionRecord, plan: Planned, reason: str) -> Planned:
        """Return *plan* with the session's accounts so far; what is open at an entry left behind is dropped."""
        last = self._parts.registry.books.of(session.session_id, session.plan)
        return carried(session.plan, plan, last, reason)

    def _undo(self, moved: SessionRecord, old: SessionRecord) -> None:
        """Go back to where it was. Frames may be under way by *moved* already: its epoch ends, they are sent again."""
        epoch = moved.epoch + 1
        back = self.change(
            moved, plan=old.plan, variant=old.variant, request=old.request, epoch=epoch, accept_from=epoch
        )
        self._prepare_all(moved, back)
        self._leave(moved, back)

    def _leave(self, old: SessionRecord, now: SessionRecord) -> None:
        """Free the nodes that the session does not use any more; later, while frames of an older epoch are welcome.

        One that is away ends its part by its next heartbeat's answer, as do all that another process had left.
        """
        for session_id in list(self._left):
            if self._parts.held.get(session_id) is None:
                self._left.pop(session_id, None)
        _, left = self._left.pop(now.session_id, (0.0, {}))
        left = {n: a for n, a in (left | old.plan.nodes).items() if n not in now.plan.used()}
        if now.accept_from < now.epoch:
            self._left[now.session_id] = (time.monotonic(), left)
        else:
            alive = self._parts.registry.alive()
            self._parts.peers.free(now.session_id, {n: left[n] for n in sorted(left) if n in alive})

    def _free(self, session: SessionRecord, nodes: set[int]) -> None:
        self._parts.peers.free(session.session_id, {n: session.plan.nodes[n] for n in sorted(nodes)})


def new_key() -> str:
    """Return the unguessable part of a session's URLs."""
    return secrets.token_urlsafe(12)
