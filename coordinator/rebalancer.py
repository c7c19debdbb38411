"""Moves running sessions to better places: looks at a few each period, judges, moves at most two at a time.

each period of the leader: heartbeats ▶ Watch per session (broken since, better since) ▶ those due, in a background
thread: snapshot without their own load ▶ better() elsewhere ▶ judge() ▶ move under the session's lock ▶ events
"""

import logging
import secrets
import threading
import time
from collections.abc import Mapping
from functools import partial
from itertools import islice
from typing import NamedTuple

from coordinator.admission import view
from coordinator.allocation.base import Decision, Request, Snapshot, Unplaceable
from coordinator.allocation.decide import decide, missed
from coordinator.allocation.explain import explain
from coordinator.allocation.loads import Promise, without
from coordinator.allocation.predict import predict
from coordinator.deciding import Decider
from coordinator.elsewhere import Alternatives, better
from coordinator.overload import Overload
from coordinator.placing import MoveFailed, Parts, Placer
from coordinator.promises import entries
from coordinator.rebalance import PATIENCE_S, Situation, Verdict, judge, loading_ms, measured_fault, named, pause_s
from coordinator.records import Planned, SessionRecord, replace
from coordinator.repair import moves, same_there, started
from coordinator.sessions import State
from coordinator.snapshot import placement
from coordinator.store import StaleEpoch
from coordinator.usual import undisturbed
from coordinator.watch import LOOK_S, LOOKS, MOVES, Watch
from wire.database import DatabaseAway
from wire.messages import Heartbeat, NodeSession, Objective

REASON = "rebalanced: "  # how the moves of this kind begin in the history
EVENTS = 10_000

logger = logging.getLogger(__name__)


class Move(NamedTuple):
    """What to do."""

    variant: str
    plan: Planned


class Rebalancer:
    """tick() is called by the controller's thread alone; looks and moves run in the placer's threads."""

    def __init__(self, parts: Parts, placer: Placer, decider: Decider) -> None:
        self._parts, self._placer, self._decider = parts, placer, decider
        self._watches: dict[int, Watch] = {}
        self._moved: dict[int, list[float]] = {}  # session_id -> wall times of its moves for this reason
        self._moving: set[int] = set()
        self._overload = Overload()
        self._looking = threading.Event()
        self._lock = threading.Lock()  # of _moving

    def tick(self, at: float) -> None:
        """Look at what heartbeats say, and at some sessions for a better place. at: monotonic s."""
        alive = self._parts.registry.alive()
        sessions = {s.session_id: s for s in self._parts.held.all() if s.state is State.RUNNING}
        self._watches = {i: w for i, w in self._watches.items() if i in sessions}
        self._moved = {i: m for i, m in dict(self._moved).items() if i in sessions}
        living = {n: status for n, status in self._parts.registry.status().items() if n in alive}
        self._parts.usual.hear(undisturbed(living, sessions), at)
        self._hurry(alive, sessions, at)
        reported = entries(alive)
        for session_id, session in sessions.items():
            entry = reported.get((session_id, session.epoch))
            if entry is not None:
                self._see(session, entry, at)
        due = [(s, self._watch(i, at)) for i, s in sessions.items() if self._due(i, at)]
        if due and not self._looking.is_set():
            self._looking.set()
            self._placer.background.submit(self._guarded_look, due, at)

    # --- noticing -------------------------------------------------------------------------------------

    def _see(self, session: SessionRecord, entry: NodeSession, at: float) -> None:
        watch = self._watch(session.session_id, at)
        dropped = watch.drops(sum(entry.books.dropped.values()) if entry.books else 0)
        objective = session.request.objective or Objective()
        news = watch.see(measured_fault(objective, entry, session.request.window, dropped), at)
        if watch.fault is not None:
            watch.hurry_when_broken(at)
        if news is not None:
            self._placer.event(session, news.event, cause="objective", why=news.why)

    def _hurry(self, alive: Mapping[int, Heartbeat], sessions: Mapping[int, SessionRecord], at: float) -> None:
        """Hurry the sessions that were displaced, those of overloaded nodes, and all when a node is new."""
        nodes = self._parts.registry.status()
        loads = {n: beat.load.cpu_util for n, beat in alive.items()}
        self._overload.note(loads, [n for n, status in nodes.items() if status.refuses is None], at)
        displaced = set[int]()
        while not self._parts.displaced.empty():
            displaced.add(self._parts.displaced.get())
        for session_id, session in sessions.items():
            watch = self._watch(session_id, at)
            if session_id in displaced:
                watch.displaced = True
                watch.hurry(at)
            self._overload.hurry(watch, session.plan.used(), at)

    def _watch(self, session_id: int, at: float) -> Watch:
        return self._watches.setdefault(session_id, Watch(next_look=at + LOOK_S))

    def _due(self, session_id: int, at: float) -> bool:
        busy = session_id in self._moving or self._parts.locks.busy(session_id)
        return not busy and self._watch(session_id, at).due(at)

    # --- looking --------------------------------------------------------------------------------------

    def _guarded_look(self, due: list[tuple[SessionRecord, Watch]], at: float) -> None:
        """Look, one look at a time; a thread's outermost frame, so that an algorithm which hangs holds up no repair."""
        try:
            self._look(due, at)
        except DatabaseAway as error:
            logger.warning("no better places are looked for: %s", error)
        except Exception:
            logger.exception("looking for better places failed")
        finally:
            self._looking.clear()

    def _look(self, due: list[tuple[SessionRecord, Watch]], at: float) -> None:
        by_need = sorted(due, key=lambda d: (d[1].fault is None, d[1].next_look))
        first = list(islice((d for d in by_need if not self._overload.nowhere or self._may_change(*d)), LOOKS))
        first = [(s, w) for s, w in first if not self._paused(s, w, at)]
        if not first:
            return
        world, promises = self._decider.snapshot(), {p.session_id: p for p in self._decider.promises()}
        for session, watch in first:
            promise = promises.get(session.session_id)
            if promise is None or not promise.placement.used() <= world.nodes.keys():
                continue
            others = [p for p in promises.values() if p is not promise]
            verdict, move = self._consider(session, watch, promise, others, world, at)
            watch.looked(at, better=verdict.better)
            logger.info("session %d: %s", session.session_id, verdict.why)
            if move is not None and len(self._moving) < MOVES:
                with self._lock:
                    self._moving.add(session.session_id)
                self._placer.background.submit(self._move, session, watch, move, verdict.why)

    def _may_change(self, session: SessionRecord, watch: Watch) -> bool:
        """Return whether another variant may help, where no other place can."""
        return watch.fault is not None and self._otherwise(session, 0) is not None

    def _paused(self, session: SessionRecord, watch: Watch, at: float) -> bool:
        """Return whether the session moved lately; it is looked at again when the pause is over."""
        pause = pause_s(self._ago(session.session_id))
        if pause > 0:
            watch.next_look = at + min(pause, LOOK_S)
        return pause > 0

    def _consider(
        self, session: SessionRecord, watch: Watch, promise: Promise, others: list[Promise], world: Snapshot, at: float
    ) -> tuple[Verdict, Move | None]:
        """Return whether to move, and where to."""
        priority = session.request.priority
        algorithm, request = self._request(session)
        world = without(world, promise)
        here = placement(session)
        now = predict(promise.variant, here, view(world, others, priority), request)
        fault, broken_s = watch.fault, watch.broken_s(at)
        if fault is None and watch.displaced:
            fault, broken_s = missed(request.objective, now), PATIENCE_S
        situation = Situation(
            now=now,
            fault=fault,
            broken_s=broken_s,
            better_s=watch.better_s(at),
            fps=promise.fps or 0.0,
            moved_s_ago=self._ago(session.session_id),
        )
        choose = partial(self._one, algorithm, session)
        broken = fault is not None
        asked = Alternatives(own=request, otherwise=self._otherwise(session, request.seed) if broken else None)
        try:
            decision = better(choose, asked, world, others, priority, broken_at=here if broken else None)
        except Unplaceable as error:
            return Verdict(move=False, why=f"{fault or 'it stays'}; no other place: {error.detail}"), None
        plan = self._decider.plan(decision, algorithm)
        watch.displaced = False
        loaded = started(session.plan, plan)
        count = len(moves(session.plan, plan)) or len(loaded)
        verdict = judge(situation, decision.predicted, count, request.objective, loading_ms(loaded, world.types))
        if not verdict.move:
            return verdict, None
        variant = decision.variant
        stays = same_there(session, here, (variant,))
        told = explain(decision, replace(request, variants=(variant,)), view(world, others, priority), stays)
        plan = self._decider.plan(replace(decision, explanation=told), algorithm)
        return named(verdict, session.variant, variant.variant_name), Move(variant.variant_name, plan)

    def _otherwise(self, session: SessionRecord, seed: int) -> Request | None:
        otherwise = self._parts.catalogue.request_otherwise(session, seed=seed)
        return None if otherwise is None else replace(otherwise, explain=False)

    def _one(self, algorithm: str, session: SessionRecord, request: Request, world: Snapshot) -> Decision:
        here = same_there(session, placement(session), request.variants)
        return decide(self._parts.algorithms[algorithm], request, world, here, name=algorithm)

    def _request(self, session: SessionRecord) -> tuple[str, Request]:
        algorithm = session.plan.algorithm
        if algorithm not in self._parts.algorithms:
            algorithm = self._parts.settings.algorithm
        request = self._parts.catalogue.request_again(session, session.request, seed=secrets.randbits(31))
        return algorithm, replace(request, explain=False)

    def _ago(self, session_id: int) -> tuple[float, ...]:
        """Return how many seconds ago the session was moved for this reason, by its history."""
        if session_id not in self._moved:
            found = self._parts.store.events(session_id, 0, EVENTS)
            times = [e.timestamp for e in found if e.event == "moved" and str(e.detail.get("why")).startswith(REASON)]
            self._moved[session_id] = times
        now = time.time()
        return tuple(max(0.0, now - t) for t in self._moved[session_id])

    # --- moving ---------------------------------------------------------------------------------------

    def _move(self, session: SessionRecord, watch: Watch, move: Move, why: str) -> None:
        """Carry the move out, unless the session has changed meanwhile; a thread's outermost frame."""
        try:
            with self._parts.locks.hold(session.session_id):
                current = self._parts.held.get(session.session_id)
                if current is None or (current.epoch, current.state) != (session.epoch, State.RUNNING):
                    return
                logger.warning("session %d moves: %s", session.session_id, why)
                self._placer.moved(current, move.plan, REASON + why, variant=move.variant)
                self._moved.setdefault(session.session_id, []).append(time.time())
                watch.moved(time.monotonic())
        except MoveFailed as error:
            logger.warning("session %d stays: %s", session.session_id, error)
            watch.failed(time.monotonic())
        except (DatabaseAway, StaleEpoch) as error:
            logger.warning("session %d stays: %s", session.session_id, error)
        except Exception:
            logger.exception("session %d: moving failed", session.session_id)
        finally:
            with self._lock:
                self._moving.discard(session.session_id)
