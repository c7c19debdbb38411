"""A handler's process.

    pipe ◀──▶ control thread: plans in; readiness and telemetry out, in batches
    inbox ──▶ main thread: join ─▶ execute ─▶ sender ──▶ inboxes of this node, gateways of others

Only the main thread touches the handler. The end of the pipe ends the process.
"""

import contextlib
import gc
import logging
import os
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from handlers.base import Context, Handler, Source, Unavailable, load_class, read_params
from node.processes import control
from node.processes.confinement import confine_handler
from node.processes.control import (
    Astray,
    ChildSettings,
    Configure,
    Failed,
    HandlerSettings,
    NewAccess,
    Ready,
    SetRunning,
    Shutdown,
)
from node.processes.progress import ProgressFile, progress_path
from node.reporting.recorder import Recorder
from node.transport.addresses import handler_address, handler_depth
from node.transport.channel import Channel
from node.transport.forward import Forwarder
from node.transport.routing import Routing
from node.worker.link import Link
from node.worker.loop import FrameLoop
from node.worker.source import SourceLoop
from wire import structs, tx_targets

log = logging.getLogger(__name__)


class Worker:
    """One handler with its channel ends and its pipe to the agent."""

    def __init__(self, pipe: Connection, settings: ChildSettings, spec: HandlerSettings) -> None:
        self._pipe = pipe
        self._settings = settings
        self._spec = spec
        self._send_lock = threading.Lock()
        self.closing = threading.Event()
        self.running = threading.Event()
        self.recorder = Recorder(settings.packet_sample)
        self._routing: Routing | None = None
        self._guard = control.guard_of(settings)

    def routing(self) -> Routing:
        """Return the routing of the newest plan."""
        if self._routing is None:
            raise RuntimeError("not configured yet")
        return self._routing

    def configure(self, message: Configure) -> None:
        """Take a plan; the main thread uses it from its next packet on."""
        self._routing = Routing(message.plan, self._spec.handler_id, self._settings.port_counts)
        self._set_running(message.running)

    def _set_running(self, running: bool) -> None:
        (self.running.set if running else self.running.clear)()

    def say(self, message: control.Message) -> None:
        """Send *message* to the agent."""
        with self._send_lock:
            control.send(self._pipe, message)

    def listen(self) -> None:
        """Control thread: obey the agent until the pipe ends, hand over telemetry meanwhile."""
        try:
            while not self.closing.is_set():
                if self._pipe.poll(control.FLUSH_PERIOD_S):
                    self._obey(control.receive(self._pipe, control.to_handler))
                telemetry = self.recorder.take()
                if telemetry is not None:
                    self.say(telemetry)
        except (EOFError, OSError):
            leave_soon(self.closing)
        except Exception:
            log.exception("handler %s: control thread", self._spec.handler_id)
            leave_soon(self.closing)

    def _obey(self, message: control.ToHandler) -> None:
        if isinstance(message, Configure):
            self.configure(message)
        elif isinstance(message, SetRunning):
            self._set_running(message.running)
        elif isinstance(message, NewAccess):
            self._guard.take(message.access)
        elif isinstance(message, Shutdown):
            self.closing.set()

    def prepare(self) -> Handler | None:  # type: ignore[type-arg]
        """Return the prepared handler, or None after telling the agent why not."""
        start = time.monotonic()
        try:
            handler = self._make()
            handler.prepare()
        except (Unavailable, msgspec.ValidationError) as error:
            bad = isinstance(error, msgspec.ValidationError)
            self.say(Failed(reason=str(error), for_good=True, bad_params=bad))
            return None
        except Exception as error:
            log.exception("handler %s cannot prepare", self._spec.handler_id)
            self.say(Failed(reason=f"{type(error).__name__}: {error}"))
            return None
        self.say(Ready(load_ms=(time.monotonic() - start) * 1000))
        return handler

    def _make(self) -> Handler:  # type: ignore[type-arg]
        spec, node = self._spec, self._settings
        cls = load_class(spec.class_name)
        context = Context(
            model_path=Path(spec.model_path),
            gallery_path=Path(spec.gallery_path) if spec.gallery_path else None,
            node_id=node.node_id,
            session_id=spec.session_id,
            handler_id=spec.handler_id,
            allowed_hosts=frozenset(node.allowed_hosts),
            source_path=tuple(map(Path, node.source_path)),
            tx_target=lambda url: tx_targets.find(self._guard.tx_targets, url),
        )
        return cls(read_params(cls, spec.params), context)

    def work(self) -> None:
        """Main thread: prepare, handle frames until closing, finish."""
        channel = Channel(self._settings.channel_name, Path(self._settings.run_path))
        plan, session_id, handler_id = self.routing().plan, self._spec.session_id, self._spec.handler_id
        inbox = channel.inbox(
            handler_address(session_id, handler_id, plan.window), handler_depth(plan, self.routing().inputs)
        )
        sender = Forwarder(
            channel,
            self._settings.node_id,
            self.recorder,
            self._guard.credential,
            self.closing,
            lambda: self.routing().plan,
            self._settings.run_path,
        )
        handler = self.prepare()
        if handler is None:
            return
        progress = ProgressFile(progress_path(self._settings.run_path, session_id, handler_id))
        link = Link(
            session_id, handler_id, self._settings, self.routing, sender, self.recorder, progress, inbox, self._astray
        )
        try:
            if isinstance(handler, Source):
                SourceLoop(link, handler, self.running, self.closing).run()
            else:
                FrameLoop(link, handler, self.closing).run()
        finally:
            handler.finish()
            sender.close()
            inbox.close()
            self._last_words()

    def _astray(self, accept_from: int, through: int) -> None:
        with contextlib.suppress(OSError):  # the agent is gone, and this process with it
            self.say(Astray(accept_from=accept_from, through=through))

    def _last_words(self) -> None:
        telemetry = self.recorder.take()
        if telemetry is not None:
            with contextlib.suppress(OSError):
                self.say(telemetry)


def leave_soon(closing: threading.Event, grace_s: float = 1.0) -> None:
    """End this process: in order when its main thread listens, by force when it is deep in a model."""
    closing.set()
    timer = threading.Timer(grace_s, os._exit, (1,))
    timer.daemon = True
    timer.start()


def settle(settings: ChildSettings, *, pin: bool) -> None:
    """Make this a child: signals are the agent's affair, cores are the configured ones."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if pin and settings.cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, settings.cpus)
    if pin and hasattr(os, "SCHED_BATCH"):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # computing: need not preempt who moves frames
    gc.freeze()  # what was imported stays: the collector need not look at it again
    gc.set_threshold(20_000, 20, 50)  # frames make no cycles; a collection for each of them costs more than it finds
    logging.basicConfig(
        level=logging.INFO, format=f"%(asctime)s node {settings.node_id} %(name)s %(levelname)s %(message)s"
    )


def run(pipe: Connection, settings: ChildSettings, spec: HandlerSettings) -> None:
    """Target of a handler's process; returns when the agent says so or is gone."""
    structs.learn()
    settle(settings, pin=True)
    progress = progress_path(settings.run_path, spec.session_id, spec.handler_id)
    confine_handler(settings, f"{spec.session_id}-{spec.handler_id}", spec.memory_mb, progress)
    worker = Worker(pipe, settings, spec)
    try:
        first = control.receive(pipe, control.to_handler)
    except (EOFError, OSError):
        return
    if not isinstance(first, Configure):
        worker.say(Failed(reason=f"first message is {type(first).__name__}", for_good=True))
        return
    worker.configure(first)
    threading.Thread(target=worker.listen, name="control", daemon=True).start()
    worker.work()
