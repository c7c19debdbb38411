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
from coordinator.records import Planned, SessionRecord, replace
from coordinator.registry import Registry
from coordinator.repair import moves
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
        alive = self._parts.registry.alive()
        self._free(session, {n for n in session.plan.used() - plan.used() if n in alive})
        return moved

    def moved(self, session: SessionRecord, plan: Planned, why: str, **changes: Any) -> SessionRecord:
        """Move *session* to *plan* while it runs: new nodes prepare first, the old epoch stays welcome until it has
        passed. Raises MoveFailed; the session then is where it was, at a later epoch.
        """
        if not same_entry(session.plan, plan):
            return self._entry_moved(session, plan, why, **changes)
        if session.plan.graph != plan.graph:
            return self._changed(session, plan, why, **changes)
        plan = self._carried(session, plan, "entry_moved")
        moved = self.change(session, plan=plan, epoch=session.epoch + 1, accept_from=session.epoch, **changes)
        new = plan.used() - session.plan.used()
        if failures := self._parts.peers.prepare(moved, new):
            self._undo(moved, session, new, begun=False)
            raise MoveFailed(failures)
        if failures := self._parts.peers.prepare(moved, plan.used() - new):
            self._undo(moved, session, new)
            raise MoveFailed(failures)
        if session.state in (State.RUNNING, State.DEGRADED):
            self._parts.peers.start(moved)
        self._tell(session, moved, why)
        self.background.submit(self._settle, session, moved)
        return moved

    def _changed(self, session: SessionRecord, plan: Planned, why: str, **changes: Any) -> SessionRecord:
        """Have *session* go on with another graph, its entry where it is: new nodes prepare, then the entry sends what
        is unanswered again, through the new graph. Raises MoveFailed; the session then is as it was, at a later epoch.
        """
        draft, new = self._drafted(session, plan)
        epoch, plan = session.epoch + 2, self._carried(session, plan, "entry_moved")
        try:
            moved = self.change(session, plan=plan, epoch=epoch, accept_from=epoch, **changes)
        except (DatabaseAway, StaleEpoch):
            self._free(draft, new)
            raise
        if failures := self._prepare_all(session, moved):
            self._undo(moved, session, new)
            raise MoveFailed(failures)
        return self._arrived(session, moved, why)

    def _entry_moved(self, session: SessionRecord, plan: Planned, why: str, **changes: Any) -> SessionRecord:
        """Move *session* with its entry: new nodes prepare, the old entry finishes what is in flight where it is, the
        new one goes on with its numbers. Raises MoveFailed; the session then is where it was.

        Nothing is written before the old entry's last word: until then a coordinator that dies has changed nothing.
        """
        draft, new = self._drafted(session, plan)
        final = self._parts.peers.hand_over(session)
        plan = handed_over(session.plan, plan, final) if final else self._carried(session, plan, "entry_moved")
        epoch = session.epoch + 2
        try:
            moved = self.change(session, plan=plan, epoch=epoch, accept_from=epoch, **changes)
        except (DatabaseAway, StaleEpoch):
            self._parts.peers.prepare(session, [session.plan.entry_node])  # the old entry goes on
            self._free(draft, new)
            raise
        if failures := self._parts.peers.prepare(moved):
            numbers_on = replace(session.plan, first_sequence=plan.first_sequence + GAP)
            self._undo(moved, replace(session, plan=numbers_on), new)
            raise MoveFailed(failures)
        return self._arrived(session, moved, why)

    def _drafted(self, session: SessionRecord, plan: Planned) -> tuple[SessionRecord, set[int]]:
        """Have new nodes prepare under a plan that is written nowhere yet; returns it with them. Raises MoveFailed."""
        new = plan.used() - session.plan.used()
        draft = replace(session, plan=plan, epoch=session.epoch + 1)
        if failures := self._parts.peers.prepare(draft, new):
            self._free(draft, new)
            raise MoveFailed(failures)
        return draft, new

    def _arrived(self, session: SessionRecord, moved: SessionRecord, why: str) -> SessionRecord:
        """Start the session where it is now, tell of it, and free the nodes that were left."""
        if session.state in (State.RUNNING, State.DEGRADED):
            self._parts.peers.start(moved)
        self._tell(session, moved, why)
        self._free(session, session.plan.used() - moved.plan.used())
        return moved

    def _prepare_all(self, session: SessionRecord, moved: SessionRecord) -> dict[int, Failure]:
        """Bring all nodes to their plans; where the graph is another, the entry's last: what it sends by the new one
        meets nobody who goes by the old one.
        """
        peers, entry = self._parts.peers, moved.plan.entry_node
        if session.plan.graph == moved.plan.graph:
            return peers.prepare(moved)
        return peers.prepare(moved, moved.plan.used() - {entry}) or peers.prepare(moved, [entry])

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

    def _undo(self, moved: SessionRecord, old: SessionRecord, new: set[int], *, begun: bool = True) -> None:
        """Go back to where it was. begun: frames may be under way by *moved* already, and are sent again."""
        epoch = moved.epoch + 1
        accept_from = epoch if begun else moved.accept_from
        back = self.change(
            moved, plan=old.plan, variant=old.variant, request=old.request, epoch=epoch, accept_from=accept_from
        )
        self._parts.peers.prepare(back)
        self._free(moved, new)

    def _settle(self, old: SessionRecord, moved: SessionRecord) -> None:
        """After a while refuse the old epoch and free the nodes that were left."""
        try:
            self._parts.closing.wait(SETTLE_S)
            with self._parts.locks.hold(moved.session_id):
                current = self._parts.held.get(moved.session_id)
                if current is not None and current.epoch == moved.epoch:
                    self._parts.peers.prepare(self.change(current, accept_from=current.epoch))
                    self._free(old, old.plan.used() - current.plan.used())
        except (DatabaseAway, StaleEpoch) as error:
            logger.warning("session %d: the old epoch stays welcome: %s", moved.session_id, error)
        except Exception:
            logger.exception("session %d: settling failed", moved.session_id)

    def _free(self, session: SessionRecord, nodes: set[int]) -> None:
        self._parts.peers.free(session.session_id, {n: session.plan.nodes[n] for n in sorted(nodes)})


def new_key() -> str:
    """Return the unguessable part of a session's URLs."""
    return secrets.token_urlsafe(12)
