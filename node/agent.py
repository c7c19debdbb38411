"""The agent: the sessions this node holds, and the processes that carry them.

    PUT ─▶ start new handlers ─▶ wait until ready ─▶ configure the kept ones ─▶ gateway attaches ─▶ end the others
    a handler died and is ready again ─▶ gateway: HandlerLost         given up ─▶ HandlerGaveUp, the session has failed
    a handler sent frames on by an older plan than theirs ─▶ gateway: SentAstray
    the gateway died ─▶ its successor is greeted with Attach for every session (and what is given up)

Each session has a lock, held by whoever changes it. Nothing waits for a frame here.
"""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from node import targets
from node.galleries import Galleries
from node.held import HandlerSlot, Held, end_slots
from node.processes import control
from node.processes.children import Child, Hooks, Job
from node.processes.launcher import Launcher
from node.processes.limits import memory_mb
from node.processes.progress import progress_path
from node.processes.supervision import ChildState
from node.reporting.telemetry_sink import Sink
from node.roster import Roster
from node.sessions import (
    BadPlan,
    Change,
    Event,
    NotPrepared,
    check_epoch,
    diff,
    leaving,
)
from wire import tx_targets
from wire.galleries import BadName
from wire.graph import GraphError, Topology
from wire.guard import Access
from wire.messages import HandlerSpec, NodeSession, Running, SessionPlan
from wire.resources import HandlerTypeSpec

logger = logging.getLogger(__name__)

PREPARE_S = 60.0  # how long a PUT waits for its handlers
ATTACH_S = 10.0  # and for the gateway
HAND_OVER_S = 10.0  # how long frames in flight may take when the entry moves: as long as at the end of a daemon
HANDLER_PATIENCE_S = 2.0  # how long a handler's process may take to leave
GATEWAY_START_S = 20.0


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What the agent needs to know of its node."""

    child: control.ChildSettings
    types: Mapping[int, HandlerTypeSpec]
    model_path: Path
    handler_timeout_s: float
    handler_memory_mb: int = 0  # 0: by the profile of each type


class Agent:
    """Holds sessions; safe to use from several threads."""

    def __init__(
        self, settings: AgentSettings, launcher: Launcher, listener: Any, sink: Sink, galleries: Galleries
    ) -> None:
        self.settings = settings
        self.node_id = settings.child.node_id
        self._handlers_child = msgspec.structs.replace(settings.child, tls_cert=None, tls_key=None)
        self._launcher = launcher
        self._sink = sink
        self._galleries = galleries
        self.roster = Roster()
        self._attached = threading.Condition()
        self._access = settings.child.access
        self._access_changed = False  # since the start
        self._drained_by = 0.0  # monotonic, s: when frames in flight are given up
        of_gateway = msgspec.structs.replace(settings.child, access=gateways_access(self._access))
        job = Job("gateway", targets.gateway, (listener, of_gateway), gives_up=False)
        hooks = Hooks(self._greet_gateway, self._gateway_ready, self._gateway_said, lambda reason: None)
        self.gateway = Child(launcher, job, hooks)

    # --- life

    def start(self) -> bool:
        """Start the gateway; returns whether it is ready."""
        self.gateway.start()
        return self.gateway.wait_ready(time.monotonic() + GATEWAY_START_S)

    def close(self, patience_s: float) -> None:
        """Take no more frames from now on; those in flight have *patience_s*."""
        self._drained_by = time.monotonic() + patience_s
        self.gateway.ask_to_end(patience_s)

    def stop(self) -> None:
        """Wait for what `close` began (without it, for nothing), then end every child process."""
        self.gateway.end(max(self._drained_by, time.monotonic()) + 1.0)
        self._end([(s.session_id, slot) for s in self.roster.clear() for slot in list(s.slots.values())])

    def take_access(self, access: Access) -> None:
        """Have all children go by *access*, and those that follow them."""
        self._access, self._access_changed = access, True
        self.gateway.send(control.NewAccess(access=gateways_access(access)))
        for _, slot in self.slots():
            slot.child.send(control.NewAccess(access=handlers_access(access, slot.url)))

    def _access_news(self, url: str | None) -> list[control.Message]:
        """Return what a handler that posts to *url* must know beyond its settings."""
        return [control.NewAccess(access=handlers_access(self._access, url))] if self._access_changed else []

    # --- what the APIs ask for

    def put(
        self, session_id: int, plan: SessionPlan, *, older: bool = False, entry_port: int | None = None
    ) -> NodeSession:
        """Bring the session to *plan*; returns when every local handler is ready and the gateway knows.

        Raises BadPlan, StaleEpoch, SessionInUse, NotPrepared (the session is kept: repeat, or delete).
        """
        self._check(plan)
        held = self.roster.hold(Held(session_id, plan, older, entry_port))
        with held.lock:
            self.roster.must_hold(held)
            check_epoch(held.plan, plan)
            self.roster.touch(session_id)
            self._carry_out(held, plan)
            self.roster.touch(session_id)
            return held.status(self.node_id)

    def start_session(self, session_id: int) -> NodeSession:
        """Let frames in. Raises UnknownSession, InvalidTransition."""
        return self._command(session_id, Event.START)

    def stop_session(self, session_id: int) -> NodeSession:
        """Let no more frames in. Raises UnknownSession, InvalidTransition."""
        return self._command(session_id, Event.STOP)

    def hand_over(self, session_id: int) -> NodeSession:
        """End the entry here in order, since another node becomes it; returns the session with its final books.

        Clients get 503 from now on; a later plan that leaves the entry here takes it back. Raises UnknownSession,
        NotPrepared when the gateway does not answer.
        """
        held = self.roster.find(session_id)
        with held.lock:
            self.roster.must_hold(held)
            self.roster.touch(session_id)
            held.final_books = None
            self.gateway.send(control.HandOver(session_id=session_id, patience=HAND_OVER_S))
            with self._attached:
                self._attached.wait_for(lambda: held.final_books is not None, HAND_OVER_S + ATTACH_S)
            self.roster.touch(session_id)
            if held.final_books is None:
                raise NotPrepared(f"the gateway is {self.gateway.state}: it has not handed session {session_id} over")
            logger.info("session %d: the entry is handed over", session_id)
            return msgspec.structs.replace(held.status(self.node_id), books=held.final_books)

    def delete(self, session_id: int) -> bool:
        """End the session and its processes; returns False when there was none."""
        self.roster.touch(session_id)
        held = self.roster.get(session_id)
        if held is None:
            return False
        end_slots_now = list(held.slots.values())  # a PUT that waits for them must not make us wait
        for slot in end_slots_now:
            slot.child.ask_to_end(HANDLER_PATIENCE_S)
        with held.lock:
            if not self.roster.end(held):  # another was faster, and a new one may be here by now
                return False
            self.gateway.send(control.Detach(session_id=session_id))
            self._end([(session_id, slot) for slot in held.slots.values()])
            held.slots.clear()
            self.roster.touch(session_id)
        logger.info("session %d deleted", session_id)
        return True

    def session(self, session_id: int) -> NodeSession:
        """Return a session. Raises UnknownSession."""
        return self.roster.find(session_id).status(self.node_id)

    def plan(self, session_id: int) -> SessionPlan:
        """Return the plan held. Raises UnknownSession."""
        return self.roster.find(session_id).plan

    def sessions(self) -> list[NodeSession]:
        """Return all sessions, by id."""
        return [s.status(self.node_id) for s in self.roster.all()]

    def entries(self) -> list[control.SessionStats]:
        """Return what the gateway last said of each session whose entry is here."""
        return [s.stats for s in self.roster.all() if s.stats is not None and s.plan.entry.node_id == self.node_id]

    @property
    def gateway_restarts(self) -> int:
        """How often the gateway was started again."""
        return self.gateway.restarts

    def slots(self) -> list[tuple[int, HandlerSlot]]:
        """Return (session_id, slot) of all handlers."""
        return [(s.session_id, slot) for s in self.roster.all() for slot in list(s.slots.values())]

    def is_older(self, session_id: int) -> bool:
        """Return True for a session of the older protocol."""
        held = self.roster.get(session_id)
        return held is not None and held.older

    # --- sessions

    def _check(self, plan: SessionPlan) -> None:
        """Raise BadPlan for what no retry can mend."""
        try:
            topology = Topology(plan.graph, self.settings.child.port_counts)
        except GraphError as error:
            raise BadPlan(str(error), "/graph") from error
        for index, handler_id in enumerate(plan.local):
            if handler_id not in topology.handlers:
                raise BadPlan(f"handler {handler_id} is not in the graph", f"/local/{index}")
        for handler_id in topology.handlers:
            if not plan.routes.get(handler_id):
                raise BadPlan(f"no route for handler {handler_id}", f"/routes/{handler_id}")
        if plan.entry.handler_id not in topology.handlers:
            raise BadPlan(f"handler {plan.entry.handler_id} is not in the graph", "/entry/handler_id")
        for index, result in enumerate(plan.results):
            if result.handler_id not in topology.handlers:
                raise BadPlan(f"handler {result.handler_id} is not in the graph", f"/results/{index}/handler_id")
        if plan.accept_from > plan.epoch:
            raise BadPlan(f"accept_from {plan.accept_from} is newer than epoch {plan.epoch}", "/accept_from")

    def _command(self, session_id: int, event: Event) -> NodeSession:
        held = self.roster.find(session_id)
        with held.lock:
            self.roster.must_hold(held)
            held.apply(event)
            self.roster.touch(session_id)
            self._set_gateway(held)
            for slot in held.slots.values():
                slot.child.send(control.SetRunning(running=held.running))
            logger.info("session %d is %s", session_id, held.state)
            return held.status(self.node_id)

    def _set_gateway(self, held: Held) -> None:
        """Tell the gateway the state; whoever got our answer may send a frame at once, so wait until it acts by it.

        When it is just dead, its successor is greeted with the state.
        """
        held.gateway_acts_by = None
        if self.gateway.send(control.SetState(session_id=held.session_id, state=held.gateway_state)):
            with self._attached:
                self._attached.wait_for(lambda: held.gateway_acts_by == held.gateway_state, ATTACH_S)

    def _carry_out(self, held: Held, plan: SessionPlan) -> None:
        broken = [h for h, slot in held.slots.items() if slot.child.state in (ChildState.FAILED, ChildState.ENDED)]
        known = held.plan if held.slots else None
        change = diff(known, plan, broken)
        going = leaving(known, set(held.slots) - set(held.plan.local), plan) & set(held.slots)
        self._end([(held.session_id, held.slots.pop(h)) for h in change.start if h in held.slots])
        held.plan = plan
        self._start_handlers(held, change)
        held.await_handlers(time.monotonic() + PREPARE_S)
        held.apply(Event.PREPARED)
        for handler_id in [*change.keep, *going]:
            held.slots[handler_id].child.send(held.configure())
        self._attach(held)
        past = [h for h in held.slots if h not in plan.local and h not in going]
        self._end([(held.session_id, held.slots.pop(h)) for h in past])
        logger.info(
            "session %d at epoch %d: %s, local handlers %s", held.session_id, plan.epoch, held.state, plan.local
        )

    def _end(self, slots: list[tuple[int, HandlerSlot]]) -> None:
        """End the processes of *slots*, each with its session's id; their last work is reported."""
        end_slots([slot for _, slot in slots], HANDLER_PATIENCE_S)
        self._sink.ended([sample for session_id, slot in slots if (sample := slot.sample(session_id)) is not None])

    def _start_handlers(self, held: Held, change: Change) -> None:
        specs = {h.handler_id: h for h in held.plan.graph.handlers}
        for handler_id in change.start:
            slot = held.slots[handler_id] = self._slot(held, specs[handler_id])
            slot.child.start()

    def _slot(self, held: Held, spec: HandlerSpec) -> HandlerSlot:
        session_id, handler_id = held.session_id, spec.handler_id
        settings = self.settings
        kind = settings.types[spec.handler_type]
        params = kind.params | spec.params
        url = params["url"] if isinstance(params.get("url"), str) else None
        known = handlers_access(settings.child.access, url)
        handler_settings = control.HandlerSettings(
            session_id=session_id,
            handler_id=handler_id,
            class_name=kind.class_name,
            params=params,
            model_path=str(settings.model_path),
            gallery_path=self._gallery_path(held, spec, params),
            memory_mb=memory_mb(settings.handler_memory_mb, kind.profile),
        )
        job = Job(
            name=f"session {session_id} handler {handler_id}",
            target=targets.handler,
            args=(msgspec.structs.replace(self._handlers_child, access=known), handler_settings),
            progress=progress_path(settings.child.run_path, session_id, handler_id),
            stuck_after_s=settings.handler_timeout_s,
            memory_mb=handler_settings.memory_mb,
        )
        hooks = Hooks(
            greeting=lambda: [held.configure(), *self._access_news(url)],
            ready=lambda again, blame: self._handler_ready(session_id, slot, again, blame),
            message=lambda message: self._handler_said(held, slot, message),
            gave_up=partial(self._handler_gave_up, session_id, handler_id),
        )
        slot = HandlerSlot(handler_id, spec.handler_type, self._launcher, job, hooks, url)
        return slot

    def _gallery_path(self, held: Held, spec: HandlerSpec, params: dict[str, Any]) -> str | None:
        """Return the folder of the people that the handler shall know. Raises BadPlan."""
        try:
            folder = self._galleries.folder(held.session_id, spec.handler_id, params)
        except BadName as error:
            index = held.plan.graph.handlers.index(spec)
            raise BadPlan(str(error), f"/graph/handlers/{index}/params/gallery") from error
        return None if folder is None else str(folder)

    def _attach(self, held: Held) -> None:
        """Have the gateway hold the session, and wait until it does. Raises NotPrepared."""
        held.attached = held.not_attached = None
        self.gateway.send(held.attach())  # when it is just dead, its successor is greeted with it
        with self._attached:
            self._attached.wait_for(lambda: held.attached == held.plan.epoch or held.not_attached, ATTACH_S)
            if held.not_attached is not None:
                raise NotPrepared(held.not_attached)
            if held.attached != held.plan.epoch:
                raise NotPrepared(f"the gateway is {self.gateway.state}: {self.gateway.reason or 'it does not answer'}")

    # --- what children say (in their threads)

    def _greet_gateway(self) -> list[control.Message]:
        held = self.roster.all()
        messages: list[control.Message] = [s.attach() for s in held if s.state is not Running.PREPARING]
        for s in held:
            messages += [_gave_up(s.session_id, h, why) for h, why in s.failed().items()]
        news = [control.NewAccess(access=gateways_access(self._access))] if self._access_changed else []
        return [*news, *messages, *self._lost_with_gateway(held)]

    def _lost_with_gateway(self, held: list[Held]) -> list[control.Message]:
        """Return what a new gateway must tell entries on other nodes: frames and words may have died with the old one.

        One handler of each session is enough, since an entry sends again all that it has open.
        """
        if not self.gateway.restarts:
            return []
        return [control.HandlerLost(session_id=s.session_id, handler_id=min(s.slots)) for s in held if s.slots]

    def _gateway_ready(self, again: bool, _blame: int | None) -> None:
        if again:
            logger.warning("the gateway is back, pid %s", self.gateway.pid)

    def _gateway_said(self, message: Any) -> None:
        if isinstance(message, control.Attached | control.StateSet | control.HandedOver):
            with self._attached:
                held = self.roster.get(message.session_id)
                if held is not None:
                    held.hear(message)
                self._attached.notify_all()
        elif isinstance(message, control.Telemetry):
            for stats in message.sessions:
                held = self.roster.get(stats.session_id)
                if held is not None:
                    held.stats = stats
            self._sink.take(message)

    def _handler_ready(self, session_id: int, slot: HandlerSlot, again: bool, blame: int | None) -> None:
        slot.new_process()
        if again:
            handler_id = slot.handler_id
            logger.warning("session %d handler %d is back; frame to blame: %s", session_id, handler_id, blame)
            lost = control.HandlerLost(session_id=session_id, handler_id=handler_id, blame=blame, why=slot.child.died)
            self.gateway.send(lost)

    def _handler_said(self, held: Held, slot: HandlerSlot, message: Any) -> None:
        if isinstance(message, control.Telemetry):
            slot.count(message)
            self._sink.served(slot.handler_type, message)
            self._sink.take(message)
        elif isinstance(message, control.Astray) and slot.heed_astray(message.accept_from, held.plan.accept_from):
            session_id, handler_id, through = held.session_id, slot.handler_id, message.through
            logger.info("session %d handler %d: frames up to %d went by an older plan", session_id, handler_id, through)
            self.gateway.send(control.SentAstray(session_id=session_id, handler_id=handler_id, through=through))

    def _handler_gave_up(self, session_id: int, handler_id: int, reason: str) -> None:
        self.gateway.send(_gave_up(session_id, handler_id, reason))


def gateways_access(access: Access) -> Access:
    """Return the part of *access* that the gateway gets: it posts for no handler."""
    return msgspec.structs.replace(access, tx_targets=[])


def handlers_access(access: Access, url: str | None) -> Access:
    """Return the part of *access* that a handler gets which posts to *url*: it lets nobody in."""
    target = None if url is None else tx_targets.find(access.tx_targets, url)
    return Access(own=access.own, tx_targets=[] if target is None else [target])


def _gave_up(session_id: int, handler_id: int, reason: str) -> control.HandlerGaveUp:
    return control.HandlerGaveUp(session_id=session_id, handler_id=handler_id, reason=reason)
