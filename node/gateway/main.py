"""The gateway process of a node.

data port, inbox ──▶ loop: packets of other nodes, clients' frames, what exits and sources of this node say
pipe ◀──▶ control thread: sessions in; telemetry, books and figures out
care thread: once a second, overdue frames
"""

import contextlib
import logging
import secrets
import socket
import threading
import time
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import msgspec

from node.gateway.care import Lost
from node.gateway.loop import Loop
from node.gateway.ports import EntryPorts
from node.gateway.sessions import Sessions
from node.gateway.sources import Sources
from node.gateway.telling import tell
from node.gateway.views import Views
from node.processes import control
from node.processes.confinement import confine_gateway
from node.processes.control import (
    Attach,
    Attached,
    ChildSettings,
    Detach,
    Drained,
    HandedOver,
    HandlerGaveUp,
    HandlerLost,
    HandOver,
    NewAccess,
    Ready,
    SentAstray,
    SessionStats,
    SetState,
    Shutdown,
    StateSet,
    Telemetry,
)
from node.reporting.recorder import Recorder
from node.transport.addresses import GATEWAY, GATEWAY_DEPTH, GATEWAY_SENDERS, lost_path
from node.transport.channel import Channel
from node.worker.main import leave_soon, settle
from wire import packet, structs
from wire.graph import GraphError
from wire.packet import Kind, PacketError
from wire.serving import CannotBind
from wire.tls import BadCertificate

log = logging.getLogger(__name__)

GREETING_S = 0.1  # the agent names its sessions as soon as the gateway is ready; a pause that long ends the list
END_S = 2.0  # how long the loop may take to end


class Gateway:
    """What the threads of the gateway share."""

    def __init__(self, pipe: Pipe, listener: socket.socket, settings: ChildSettings) -> None:
        self._pipe = pipe
        self._saying = threading.Lock()
        self._settings = settings
        self.closing = threading.Event()
        self._recorder = Recorder(settings.packet_sample)
        self._channel = Channel(settings.channel_name, Path(settings.run_path))
        self._inbox = self._channel.inbox(GATEWAY, GATEWAY_DEPTH, GATEWAY_SENDERS)
        self._guard = control.guard_of(settings)
        self.sessions = Sessions(settings, self._channel, self._recorder, self.closing, self._guard.credential)
        self._sources = Sources(self.sessions, self.closing)
        self._views = Views(self.sessions, settings.max_frame_bytes, self._guard)
        tls = None if self._guard.tls is None else self._guard.tls.context
        self._entry_ports = EntryPorts(listener.getsockname()[0], self._views, tls)
        self._loop = Loop(listener, self._views.task, self._views, self._inbox, self._take, tls)
        self._serving = threading.Thread(target=self._loop.serve, name="data port", daemon=True)

    def start(self) -> None:
        """Start all threads but the control thread."""
        threading.Thread(target=self._look_after, name="care", daemon=True).start()
        self._say(Ready())
        self._greeted()
        self._serving.start()

    def _say(self, message: control.Message) -> None:
        with self._saying:
            control.send(self._pipe, message)

    def _greeted(self) -> None:
        """Take the sessions that the agent names first: before them every frame would be answered with 404."""
        with contextlib.suppress(EOFError, OSError):
            while self._pipe.poll(GREETING_S):
                self._obey(control.receive(self._pipe, control.to_gateway))

    # --- the loop ------------------------------------------------------------------------------------

    def _take(self, data: memoryview) -> None:
        try:
            arrived = packet.decode(data)
        except PacketError as error:
            log.error("unreadable packet from a local handler: %s", error)
            return
        held = self.sessions.get(arrived.header.session_id)
        if held is None or held.entry is None or arrived.header.epoch < held.plan.accept_from:
            return
        if arrived.header.kind is Kind.RESULT:
            held.entry.report(arrived)
        else:
            self._sources.take(held, arrived)

    # --- care thread ---------------------------------------------------------------------------------

    def _look_after(self) -> None:
        while not self.closing.wait(1.0):
            for held in self.sessions.all():
                try:
                    if held.entry is not None:
                        held.entry.look_after()
                except Exception:
                    log.exception("care of session %s", held.session_id)

    # --- control thread ------------------------------------------------------------------------------

    def listen(self) -> None:
        """Obey the agent until the pipe ends; hand over telemetry each period."""
        due = time.monotonic()
        try:
            while not self.closing.is_set():
                if self._pipe.poll(max(0.0, due - time.monotonic())):
                    self._obey(control.receive(self._pipe, control.to_gateway))
                if time.monotonic() >= due:
                    self._hand_over()
                    due = time.monotonic() + control.FLUSH_PERIOD_S
        except (EOFError, OSError):
            leave_soon(self.closing)

    def _obey(self, message: control.ToGateway) -> None:
        if isinstance(message, Attach):
            self._attach(message)
        elif isinstance(message, SetState):
            self.sessions.set_state(message.session_id, message.state)
            self._say(StateSet(session_id=message.session_id, state=message.state))
        elif isinstance(message, Detach):
            self._entry_ports.close(message.session_id)
            self.sessions.detach(message.session_id)
        elif isinstance(message, HandOver):
            threading.Thread(target=self._hand_entry_over, args=(message,), name="hand over", daemon=True).start()
        elif isinstance(message, HandlerLost | SentAstray | HandlerGaveUp):
            threading.Thread(target=self._lost, args=(message,), name="lost", daemon=True).start()
        elif isinstance(message, NewAccess):
            self._take_access(message)
        elif isinstance(message, Shutdown):
            self._shut_down(message.patience)

    def _take_access(self, message: NewAccess) -> None:
        try:
            self._guard.take(message.access)
        except BadCertificate as error:  # they changed since the agent looked
            log.error("tokens and certificates stay as they were: %s", error)

    def _attach(self, message: Attach) -> None:
        try:
            self.sessions.attach(message.session_id, message.plan, message.state)
        except (GraphError, KeyError, OSError) as error:  # others go on
            log.error("session %s cannot be attached: %s", message.session_id, error)
            self._say(Attached(session_id=message.session_id, epoch=message.plan.epoch, failure=str(error)))
            return
        failure = self._open_port(message)
        self._say(Attached(session_id=message.session_id, epoch=message.plan.epoch, failure=failure))

    def _open_port(self, message: Attach) -> str | None:
        """Open the port that the session asks for; returns why that cannot be, or None."""
        if message.entry_port is None:
            return None
        try:
            self._entry_ports.open(message.session_id, message.entry_port)
        except CannotBind as error:
            log.error("session %s: %s", message.session_id, error)
            return str(error)
        return None

    def _hand_entry_over(self, message: HandOver) -> None:
        """Bring an entry that moves away to its end, and say what it counted."""
        held = self.sessions.get(message.session_id)
        if held is not None and held.entry is not None:
            books = held.entry.hand_over(message.patience)
            self._say(HandedOver(session_id=message.session_id, books=books))

    def _lost(self, message: HandlerLost | SentAstray | HandlerGaveUp) -> None:
        """Tell the entry, here or on its node, that frames must be sent again or fail."""
        self._channel.sweep_dead()
        held = self.sessions.get(message.session_id)
        if held is None:
            return
        if isinstance(message, HandlerGaveUp):
            lost = Lost(message.handler_id, gave_up=message.reason)
        elif isinstance(message, SentAstray):
            lost = Lost(message.handler_id, through=message.through)
        else:
            lost = Lost(message.handler_id, message.blame, why=message.why)
        if held.entry is None:
            word = secrets.token_hex(8)
            self._tell(message.session_id, msgspec.structs.replace(lost, epoch=held.plan.epoch, word=word))
        else:
            held.entry.care.hear(lost)

    def _tell(self, session_id: int, lost: Lost) -> None:
        def where() -> str | None:
            held = self.sessions.get(session_id)
            return None if held is None or held.entry is not None else held.plan.entry.url

        if not tell(where, lost_path(session_id), msgspec.json.encode(lost), self._guard.credential, self.closing):
            log.warning("session %s: the entry does not know what handler %s lost", session_id, lost.handler_id)

    def _hand_over(self) -> None:
        stats = [s for s in (self._stats(h.session_id) for h in self.sessions.all()) if s is not None]
        telemetry = self._recorder.take()
        if telemetry is not None or stats:
            message = telemetry or Telemetry()
            self._say(msgspec.structs.replace(message, sessions=stats))

    def _stats(self, session_id: int) -> SessionStats | None:
        held = self.sessions.get(session_id)
        if held is None or held.entry is None:
            return None
        outcomes = held.entry.outcomes
        latency, fps = outcomes.figures()
        return SessionStats(
            session_id=session_id,
            books=outcomes.read_books(),
            latency_ms=latency,
            latency=outcomes.latency.read(),
            fps=fps,
            source_ended=outcomes.source_ended,
        )

    def _shut_down(self, patience_s: float) -> None:
        """Take no more frames, wait for those in flight, say what was left. The agent is heard meanwhile.

        A handler that dies now comes back too, and what it held is sent again.
        """
        if self.sessions.draining:
            return
        self.sessions.draining = True
        deadline = time.monotonic() + patience_s
        while self._in_flight() and time.monotonic() < deadline and not self.closing.is_set():
            if self._pipe.poll(0.02):
                self._obey(control.receive(self._pipe, control.to_gateway))
        with contextlib.suppress(OSError):
            self._hand_over()
            self._say(Drained(in_flight=self._in_flight()))
        for held in self.sessions.all():
            self.sessions.detach(held.session_id)
        self.closing.set()

    def _in_flight(self) -> int:
        return sum(h.entry.in_flight for h in self.sessions.all() if h.entry is not None)

    def close(self) -> None:
        """Leave shared memory in order: after the loop, which receives from it."""
        self._loop.end()
        self._serving.join(END_S)
        if not self._serving.is_alive():
            self._inbox.close()
        self._channel.close()


def run(pipe: Pipe, listener: socket.socket, settings: ChildSettings) -> None:
    """Target of the gateway's process; returns when the agent says so or is gone."""
    structs.learn()
    settle(settings, pin=False)
    confine_gateway(settings)
    gateway = Gateway(pipe, listener, settings)
    gateway.start()
    gateway.listen()
    gateway.closing.wait(2.0)
    gateway.close()
