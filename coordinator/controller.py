"""The thread that keeps sessions alive: who leads, which nodes are down, whose handlers must move.

each control_period: judge nodes ▶ share nodes and sessions through the database ▶ leader? ▶ repairs, drains, moves
repairs run in background threads, one per session, under the session's lock, where the reason is asked anew;
those that fail back off, each kind of work for itself
"""

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable

import msgspec

from coordinator import repair
from coordinator.allocation import base
from coordinator.deaths import EVENT, Told, reported
from coordinator.deciding import Decider
from coordinator.elsewhere import Alternatives
from coordinator.peers import PREPARE_S
from coordinator.placing import MoveFailed, Parts, Placer
from coordinator.rebalancer import Rebalancer
from coordinator.records import Cordon, NodeRecord, Planned, SessionRecord, replace
from coordinator.sessions import HELD, PLACED, Event, State, transition
from coordinator.store import StaleEpoch
from wire.database import DatabaseAway

STALL_S = 1.0  # a wait that took so much longer than asked: this process stood still, not the nodes
LEASE_S = 3.0  # at least; and three periods: after its holder's death another leads
ABANDONED_S = PREPARE_S + 60  # a session still being created then has lost its creator
BACK_OFF_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
Work = Callable[[SessionRecord], None]

logger = logging.getLogger(__name__)


class Controller:
    """Runs from start() to stop()."""

    def __init__(self, parts: Parts, placer: Placer) -> None:
        self._parts, self._placer, self._decider = parts, placer, Decider(parts)
        self._rebalancer = Rebalancer(parts, placer, self._decider)
        self._holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._thread = threading.Thread(target=self._run, name="controller", daemon=True)
        self._tries: dict[tuple[int, str], tuple[int, float]] = {}  # session_id, name of the work -> attempts that
        # failed, monotonic s of the next
        self._queued: set[int] = set()  # sessions that a background thread has, or will have
        self._offers: set[tuple[int, str]] = set()  # node_id, boot_id of the nodes that take handlers
        self._told = Told()
        self._written: dict[int, float] = {}  # node_id -> last_seen that the database has
        self.database_fault: str | None = None
        self.leads = False  # this process holds the leader row

    def load(self) -> None:
        """Take nodes and sessions from the database. Raises DatabaseAway."""
        self._parts.registry.merge(self._parts.store.nodes(), time.monotonic())
        begun = time.monotonic()
        self._parts.held.merge(self._parts.store.sessions(sorted(HELD)), begun)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and leave the lease to others."""
        self._parts.closing.set()
        self._parts.wake.set()
        self._thread.join(timeout=10)
        try:
            self._parts.store.resign(self._holder)
        except DatabaseAway as error:
            logger.warning("the lease runs out by itself: %s", error)

    def _run(self) -> None:
        period = self._parts.settings.control_period
        while not self._parts.closing.is_set():
            begun = time.monotonic()
            self._parts.wake.wait(period)
            self._parts.wake.clear()
            if time.monotonic() - begun > period + STALL_S:
                logger.warning(
                    "this process stood still for %.1f s: nodes are heard again first", time.monotonic() - begun
                )
                self._parts.registry.forgive(time.monotonic())
            try:
                self._tick()
            except DatabaseAway as error:
                self._note_fault(str(error))
            except Exception:
                logger.exception("control failed")

    def _tick(self) -> None:
        for node_id in self._parts.registry.judge(time.monotonic()):
            logger.warning("node %d is down: not heard for %g s", node_id, self._parts.settings.heartbeat_timeout)
        self._share()
        self._note_fault(None)
        if not self._parts.closing.is_set() and self._lead():
            self._repair()
            self._tell_deaths()
            self._end_drains()
            self._rebalancer.tick(time.monotonic())

    def _lead(self) -> bool:
        """Take or renew the lease; return whether this process controls."""
        lease_s = max(LEASE_S, 3 * self._parts.settings.control_period)
        leads = self._parts.store.lead(self._holder, lease_s)
        if leads != self.leads:
            logger.warning("this coordinator %s", "controls now" if leads else "does not control any more")
        self.leads = leads
        return leads

    def _share(self) -> None:
        """Write what this process heard, and take what others heard and changed."""
        registry, store = self._parts.registry, self._parts.store
        news = [r for r in registry.records() if self._written.get(r.node_id) != r.last_seen]
        if news:
            store.write_nodes(news)
            self._written |= {r.node_id: r.last_seen for r in news}
        registry.merge(store.nodes(), time.monotonic())
        begun = time.monotonic()
        self._parts.held.merge(store.sessions(sorted(HELD)), begun)

    def _repair(self) -> None:
        self._notice_nodes()
        for session in self._parts.held.all():
            if session.session_id not in self._queued and not self._parts.locks.busy(session.session_id):
                work = next((w for w in self._needed(session) if self._due(session.session_id, w)), None)
                if work is not None:
                    self._queued.add(session.session_id)
                    self._placer.background.submit(self._guarded, session.session_id, work)

    def _needed(self, session: SessionRecord) -> list[Work]:
        """Return what is to be done with a session, the most urgent first."""
        placed, works = session.state in PLACED, list[Work]()
        if placed and self._broken(session):
            return [self._mend]
        if session.state is State.RUNNING and repair.source_ended(session, self._parts.registry.alive()):
            works.append(self._end)
        if self._placer.passed(session):
            works.append(self._placer.settle)
        if placed and session.plan.used() & self._draining():
            works.append(self._drain)
        return works

    def _due(self, session_id: int, work: Work) -> bool:
        return self._tries.get((session_id, work.__name__), (0, 0.0))[1] <= time.monotonic()

    def _draining(self) -> set[int]:
        return {r.node_id for r in self._parts.registry.records() if r.cordoned is Cordon.DRAINING}

    def _tell_deaths(self) -> None:
        """Write the deaths of handlers that are back into the histories. Raises DatabaseAway."""
        alive, at = self._parts.registry.alive(), time.monotonic()
        sessions = [s for s in self._parts.held.all() if s.state in PLACED]
        self._told.forget(s.session_id for s in sessions)
        for session in sessions:
            for death in reported(session, alive):
                if not self._told.knows(session.session_id):
                    self._told.learn(session.session_id, self._parts.store.latest(session.session_id, EVENT))
                if self._told.due(session.session_id, death, at):
                    self._placer.event(session, EVENT, **msgspec.structs.asdict(death))
                    self._told.note(session.session_id, death, at)

    def _notice_nodes(self) -> None:
        """Another node is there, or takes handlers again: what had found no place is tried at once."""
        offers = {(n, s.heartbeat.boot_id) for n, s in self._parts.registry.status().items() if s.refuses is None}
        if offers - self._offers:
            self._tries.clear()
        self._offers = offers

    def _broken(self, session: SessionRecord) -> bool:
        alive = self._parts.registry.alive()
        if session.state is State.INITIALIZED and session.request.start:
            return time.time() - session.updated > ABANDONED_S
        lost = repair.lost_nodes(session.plan, alive) or repair.given_up(session, alive)
        return bool(lost) or session.state is State.DEGRADED

    def _guarded(self, session_id: int, work: Work) -> None:
        """Do *work* on the session if it still needs it; a thread's outermost frame."""
        try:
            if not self._parts.locks.busy(session_id):
                self._work(session_id, work)
        except base.Unplaceable as error:
            nodes = "".join(f"; node {n}: {reason}" for n, reason in error.reasons.items())
            self._later(session_id, work, error.detail + nodes)
        except MoveFailed as error:
            self._later(session_id, work, str(error))
        except (DatabaseAway, StaleEpoch) as error:
            logger.warning("session %d: %s", session_id, error)
        except Exception:
            logger.exception("session %d: control failed", session_id)
            self._later(session_id, work, "an error of the coordinator")
        finally:
            self._queued.discard(session_id)

    def _work(self, session_id: int, work: Work) -> None:
        """Do *work* on the session as it is once its lock is ours: it may have been mended or moved meanwhile."""
        with self._parts.locks.hold(session_id):
            session = self._parts.held.get(session_id)
            if session is not None and work in self._needed(session):
                work(session)
            self._tries.pop((session_id, work.__name__), None)

    def _mend(self, session: SessionRecord) -> None:
        """Place anew what was lost. Raises Unplaceable, MoveFailed; the session then stays degraded with the reason."""
        alive = self._parts.registry.alive()
        if session.state is State.INITIALIZED and session.request.start:
            self._fail(session, "its creation was broken off")
            return
        lost, failed = repair.lost_nodes(session.plan, alive), repair.given_up(session, alive)
        why = "; ".join(
            [f"node {n} {reason}" for n, reason in lost.items()]
            + [f"handler {h} on node {n} failed: {reason}" for (h, n), reason in failed.items()]
        )
        if session.state is State.RUNNING:
            session = self._degrade(session, why)
        try:
            variant, plan = self._decide(session, lost, failed)
        except base.Unplaceable as error:
            if failed and not lost:
                self._fail(session, f"{why}; {error}")
                return
            raise base.Unplaceable(f"{why}; {error.detail}", error.reasons, error.handler_id) from error
        self._placer.replaced(session, plan, why or "once more", variant=variant)
        if session.state is State.DEGRADED:
            self._placer.event(session, "recovered", why=why)

    def _end(self, session: SessionRecord) -> None:
        """A source that has no more frames ends its session; results and history stay until it is deleted."""
        self._placer.stop(session, why="its source has ended")

    def _drain(self, session: SessionRecord) -> None:
        variant, plan = self._decide(session, dict.fromkeys(self._draining(), "is draining"), {})
        self._placer.moved(session, plan, "drained", variant=variant)

    def _decide(
        self, session: SessionRecord, lost: dict[int, str], failed: dict[tuple[int, int], str]
    ) -> tuple[str, Planned]:
        """Return the variant to go on with, and where. Raises Unplaceable."""
        parts, seed = self._parts, secrets.randbits(31)
        nodes = [r.node_id for r in parts.registry.records()]
        own = parts.catalogue.request_again(session, session.request, seed=seed)
        own = repair.without(own, session.plan, lost, failed, nodes)
        otherwise = parts.catalogue.request_otherwise(session, seed=seed)
        if otherwise is not None:
            otherwise = replace(otherwise, entry_node=own.entry_node)
        asked = Alternatives(own=own, otherwise=otherwise)
        algorithm = session.plan.algorithm if session.plan.algorithm in parts.algorithms else parts.settings.algorithm
        surviving = repair.surviving(session.plan, lost, failed)
        decision, plan = self._decider.replacement(session, algorithm, asked, surviving)
        return decision.variant.variant_name, plan

    def _degrade(self, session: SessionRecord, why: str) -> SessionRecord:
        session = self._placer.change(session, state=transition(session.state, Event.LOSE), reason=why)
        self._placer.event(session, "degraded", why=why)
        return session

    def _fail(self, session: SessionRecord, why: str) -> None:
        self._placer.event(session, "failed", reason=why)
        self._placer.change(session, state=transition(session.state, Event.FAIL), reason=why)
        self._parts.peers.free(session.session_id, session.plan.nodes)

    def _later(self, session_id: int, work: Work, why: str) -> None:
        """Keep the reason on the session, and try that again after a while."""
        key = session_id, work.__name__
        tries = self._tries.get(key, (0, 0.0))[0]
        self._tries[key] = (tries + 1, time.monotonic() + BACK_OFF_S[min(tries, len(BACK_OFF_S) - 1)])
        logger.warning("session %d: %s; tried %d times", session_id, why, tries + 1)
        session = self._parts.held.get(session_id)
        if session is None or session.state is not State.DEGRADED or session.reason == why:
            return
        try:
            self._placer.change(session, reason=why)
        except (DatabaseAway, StaleEpoch) as error:
            logger.warning("session %d: %s", session_id, error)

    def _end_drains(self) -> None:
        """A draining node that holds nothing any more is cordoned."""
        used = {n for s in self._parts.held.all() for n in s.plan.used()}
        for record in self._parts.registry.records():
            if record.cordoned is Cordon.DRAINING and not self._holds(record, used):
                self._parts.store.set_cordon(record, Cordon.CORDONED)
                self._parts.registry.set_cordon(record.node_id, Cordon.CORDONED)

    def _holds(self, record: NodeRecord, used: set[int]) -> bool:
        return record.node_id in used or bool(record.heartbeat.sessions)

    def _note_fault(self, fault: str | None) -> None:
        if fault is not None:
            self.leads = False
        if fault != self.database_fault:
            logger.warning("%s", fault or "the database is back")
        self.database_fault = fault
