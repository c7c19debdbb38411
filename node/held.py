"""A session as this node holds it: its plan, its handlers' processes, what they last said."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from node.processes import control
from node.processes.children import Child, Hooks, Job
from node.processes.launcher import Launcher
from node.processes.supervision import ChildState
from node.reporting.sampler import ProcessSample
from node.reporting.sliding import SlidingMean
from node.sessions import BadPlan, Event, NotPrepared, transition
from wire.messages import Books, HandlerStatus, NodeSession, Running, SessionPlan


class HandlerSlot:
    """A handler's place: its supervised process and its counters, which outlive the process."""

    def __init__(
        self, handler_id: int, handler_type: int, launcher: Launcher, job: Job, hooks: Hooks, url: str | None = None
    ) -> None:
        """url: that the handler posts to."""
        self.handler_id, self.handler_type, self.url = handler_id, handler_type, url
        self.frames = 0
        self.service_ms_sum = 0.0
        self.queue_size = 0
        self._mean = SlidingMean(time.monotonic())  # ms per frame
        self._sampled = (0, 0.0)  # frames, service_ms_sum: what samples have told
        self._astray_from = 0  # epoch, of the last word that was heeded
        self._lock = threading.Lock()  # of the counters: they are read and sampled in different threads
        self.child = Child(launcher, job, hooks)

    def heed_astray(self, accept_from: int, known: int) -> bool:
        """Return whether to heed its word that frames went astray: once for each epoch from which on frames are
        welcome, by the plans that are *known* here.
        """
        if not self._astray_from < accept_from <= known:
            return False
        self._astray_from = accept_from
        return True

    def new_process(self) -> None:
        """Note that another process does the work from now on."""
        self.queue_size = 0

    def sample(self, session_id: int) -> ProcessSample | None:
        """Return the process and what was done since the last sample; None where there is neither."""
        pid = self.child.pid
        with self._lock:
            (frames, total), self._sampled = self._sampled, (self.frames, self.service_ms_sum)
            if pid is None and self.frames == frames:
                return None
            return ProcessSample(
                session_id=session_id,
                handler_id=self.handler_id,
                pid=pid,
                queue_size=self.queue_size if pid is not None else 0,
                frames=self.frames - frames,
                service_ms_sum=self.service_ms_sum - total,
            )

    @property
    def progress_path(self) -> Path | None:
        return self.child.job.progress

    def count(self, telemetry: control.Telemetry) -> None:
        """Add what the process reports."""
        with self._lock:
            self.frames += telemetry.frames
            self.service_ms_sum += telemetry.service_ms
        self.queue_size = telemetry.queue_size
        self._mean.take(time.monotonic(), self.frames, self.service_ms_sum)

    def status(self) -> HandlerStatus:
        return HandlerStatus(
            handler_id=self.handler_id,
            state=str(self.child.state),
            pid=self.child.pid,
            restarts=self.child.restarts,
            frames=self.frames,
            service_ms=self._mean.value,
            queue_size=self.queue_size,
            reason=self.child.reason,
            died=self.child.died,
        )


@dataclass
class Held:
    """A session; `lock` is held by whoever changes it (PUT, start, stop, delete)."""

    session_id: int
    plan: SessionPlan
    older: bool = False  # made by the older protocol: the coordinator does not know it
    entry_port: int | None = None  # that its rx opens
    state: Running = Running.PREPARING
    slots: dict[int, HandlerSlot] = field(default_factory=dict)
    stats: control.SessionStats | None = None
    attached: int | None = None  # epoch that the gateway has confirmed
    gateway_acts_by: str | None = None  # the state that the gateway has confirmed
    not_attached: str | None = None  # why the gateway cannot
    final_books: Books | None = None  # of the entry, once it was handed over
    lock: threading.RLock = field(default_factory=threading.RLock)

    def apply(self, event: Event) -> None:
        """Change the state. Raises InvalidTransition."""
        self.state = transition(self.state, event)

    @property
    def running(self) -> bool:
        return self.state is Running.RUNNING

    @property
    def gateway_state(self) -> str:
        """Return what the gateway is told: before preparation no frames are taken."""
        return str(Running.INITIALIZED if self.state is Running.PREPARING else self.state)

    def attach(self) -> control.Attach:
        return control.Attach(
            session_id=self.session_id, plan=self.plan, state=self.gateway_state, entry_port=self.entry_port
        )

    def configure(self) -> control.Configure:
        return control.Configure(plan=self.plan, running=self.running)

    def hear(self, answer: control.Attached | control.StateSet | control.HandedOver) -> None:
        """Take what the gateway says it has done."""
        if isinstance(answer, control.HandedOver):
            self.final_books = answer.books
        elif isinstance(answer, control.StateSet):
            self.gateway_acts_by = answer.state
        else:
            self.not_attached = answer.failure
            self.attached = answer.epoch if answer.failure is None else None
            self.gateway_acts_by = self.gateway_state  # one that was greeted anew has it from there

    def failed(self) -> dict[int, str]:
        """Return the handlers that are given up, with the reasons."""
        return {
            h: slot.child.reason or "failed"
            for h, slot in list(self.slots.items())
            if h in self.plan.local and slot.child.state is ChildState.FAILED
        }

    def status(self, node_id: int) -> NodeSession:
        """Return the session as the API shows it: failed while a handler is given up."""
        failed, stats = self.failed(), self.stats
        entry = self.plan.entry.node_id == node_id
        return NodeSession(
            session_id=self.session_id,
            epoch=self.plan.epoch,
            state=Running.FAILED if failed else self.state,
            entry=entry,
            handlers=[slot.status() for h, slot in sorted(list(self.slots.items())) if h in self.plan.local],
            books=stats.books if stats and entry else None,
            latency_ms=stats.latency_ms if stats and entry else {},
            fps=stats.fps if stats and entry else None,
            source_ended=bool(stats and stats.source_ended),
            reason="; ".join(f"handler {h}: {why}" for h, why in failed.items()) or None,
        )

    def await_handlers(self, deadline: float) -> None:
        """Wait until all local handlers are ready. Raises NotPrepared, BadPlan when parameters are wrong."""
        for handler_id, slot in list(self.slots.items()):
            if handler_id in self.plan.local and not slot.child.wait_ready(deadline):
                why = slot.child.reason or "still preparing"
                if slot.child.bad_params:
                    index = [h.handler_id for h in self.plan.graph.handlers].index(handler_id)
                    raise BadPlan(f"handler {handler_id}: {why}", f"/graph/handlers/{index}/params")
                raise NotPrepared(f"handler {handler_id} is {slot.child.state}: {why}")


def end_slots(slots: list[HandlerSlot], patience_s: float) -> None:
    """End the processes of *slots* together; after *patience_s* they are killed."""
    for slot in slots:
        slot.child.ask_to_end(patience_s)
    deadline = time.monotonic() + patience_s
    for slot in slots:
        slot.child.end(deadline)
        if slot.progress_path is not None:
            slot.progress_path.unlink(missing_ok=True)
