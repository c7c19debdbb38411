"""The main thread of a handler's process: one frame after the other."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from handlers import codec
from handlers.base import EndOfSource, FrameError, Handler, Source
from node.channel import Inbox
from node.control import ChildSettings
from node.forward import Forwarder
from node.progress import ProgressFile
from node.recorder import Recorder
from node.routing import Output, Routing, Target
from node.worker.join import Joiner
from node.worker.pictures import as_jpeg, plain_boxes, unpacked
from wire import packet
from wire.graph import wanted
from wire.messages import Encoding, PacketEvent
from wire.packet import EmptyPart, Header, Kind, Packet, PacketError, Span

log = logging.getLogger(__name__)

IDLE_S = 0.5  # how long the main thread waits before it looks whether to close


@dataclass(frozen=True)
class Link:
    """What ties a handler to its node."""

    session_id: int
    handler_id: int
    settings: ChildSettings
    routing: Callable[[], Routing]
    sender: Forwarder
    recorder: Recorder
    progress: ProgressFile
    inbox: Inbox


class FrameLoop:
    """Receives, joins, executes, sends."""

    def __init__(self, link: Link, handler: Handler[Any], closing: threading.Event) -> None:
        self._link = link
        self._handler = handler
        self._closing = closing
        routing = link.routing()
        self._joiner = Joiner(routing.inputs, bound=2 * routing.plan.window)
        self._accept_from = 0

    def run(self) -> None:
        """Handle frames until closing."""
        while not self._closing.is_set():
            data = self._link.inbox.receive(IDLE_S)
            if data is not None:
                self._take(data)

    def _take(self, data: memoryview) -> None:
        received = time.time()
        try:
            arrived = packet.decode(data)
        except PacketError as error:  # the gateway checks what comes from outside, so this is our own fault
            log.error("handler %s: unreadable packet: %s", self._link.handler_id, error)
            return
        header = arrived.header
        routing = self._link.routing()
        if routing.plan.accept_from != self._accept_from:
            self._accept_from = routing.plan.accept_from
            self._joiner.forget_before(self._accept_from)
        if header.epoch < self._accept_from:
            return
        self._note(header.sequence, PacketEvent.RECV, received, arrived.size)
        complete = self._joiner.add(arrived)
        if complete is not None:
            self._handle(routing, complete, received)
        for late in self._joiner.overdue():
            lost = EmptyPart(status="dropped", ended_by=self._link.handler_id, reason="join_partner_missing")
            self._send_all(routing, late.header, lost, late.header.trace)

    def _note(self, sequence: int, event: PacketEvent, at: float, size: int | None = None) -> None:
        self._link.recorder.event(self._link.session_id, self._link.handler_id, sequence, event, at, size)

    def _handle(self, routing: Routing, packets: list[Packet], received: float) -> None:
        header = packets[0].header
        values = [codec.from_part(p.header.payload, p.buffers) for p in packets]
        trace = merged_trace(packets)
        ended = ending(values)
        if ended is not None:
            self._send_all(routing, header, ended, trace)
            return
        value, start, end = self._execute(header.sequence, values)
        span = Span(
            self._link.handler_id, self._link.settings.node_id, received, start, end, sum(p.size for p in packets)
        )
        self._send_or_fail(routing, header, value, [*trace, span])

    def _send_or_fail(self, routing: Routing, header: Header, value: Any, trace: list[Span]) -> None:
        """Send *value*; what no output can carry fails the frame, not the process."""
        try:
            self._send_all(routing, header, value, trace)
        except Exception as error:
            handler_id = self._link.handler_id
            log.exception("handler %s gave what cannot be sent", handler_id)
            reason = f"{type(error).__name__}: {error}"
            broken = EmptyPart(status="failed", ended_by=handler_id, reason=reason, broken=True)
            self._send_all(routing, header, broken, trace)

    def _execute(self, sequence: int, values: list[Any]) -> tuple[Any, float, float]:
        """Return what the handler gives (or an EmptyPart), and when it began and ended."""
        link = self._link
        link.progress.begin(sequence, len(self._joiner))
        start, tick = time.time(), time.monotonic()
        self._note(sequence, PacketEvent.START, start)
        value = self._call(values)
        seconds = time.monotonic() - tick
        link.progress.end(len(self._joiner))
        link.recorder.served(0.0, seconds)
        self._note(sequence, PacketEvent.END, start + seconds)
        return value, start, start + seconds

    def _call(self, values: list[Any]) -> Any:
        handler_id = self._link.handler_id
        try:
            value = self._handler.execute(*unpacked(values, self._handler.inputs))
        except FrameError as error:
            return EmptyPart(status="failed", ended_by=handler_id, reason=str(error))
        except Exception as error:
            log.exception("handler %s broke on a frame", handler_id)
            reason = f"{type(error).__name__}: {error}"
            return EmptyPart(status="failed", ended_by=handler_id, reason=reason, broken=True)
        if value is None and self._handler.outputs:
            return EmptyPart(status="ok", ended_by=handler_id)
        return value

    def _send_all(self, routing: Routing, header: Header, value: Any, trace: list[Span]) -> None:
        """Send *value* (one per output; an EmptyPart goes to all of them) where the plan says."""
        several = len(routing.outputs) > 1 and not isinstance(value, EmptyPart)
        values = value if several else [value] * len(routing.outputs)
        for output, one in zip(routing.outputs, values, strict=True):
            self._send_output(routing, output, msgspec.structs.replace(header, trace=trace), one)

    def _send_output(self, routing: Routing, output: Output, header: Header, value: Any) -> None:
        targets = [t for t in output.targets if t.needed(header)]
        if targets:
            raw = codec.to_part(value)
            for target in targets:
                self._send_target(routing, target, header, value, raw)
        if output.exit is not None and wanted([output.exit], header.want):
            self._send_result(routing, output.exit.output, header, value)

    def _send_target(self, routing: Routing, target: Target, header: Header, value: Any, raw: Any) -> None:
        route = target.replica(header.sequence)
        part, buffers = raw
        if target.encoding is Encoding.JPEG and route.node_id != self._link.settings.node_id:
            part, buffers = as_jpeg(value, for_hop=True) or raw
        out = msgspec.structs.replace(
            header, kind=Kind.FRAME, handler_id=target.handler_id, port=target.port, payload=part
        )
        pieces = packet.encode(out, buffers)
        where = (self._link.session_id, target.handler_id, target.port)
        if self._link.sender.to_handler(route, where, target.inputs, pieces):
            self._note(header.sequence, PacketEvent.SENT, time.time(), packet.total(pieces))

    def _send_result(self, routing: Routing, output: int, header: Header, value: Any) -> None:
        part, buffers = (None, []) if value is None else as_jpeg(value) or codec.to_part(plain_boxes(value))
        out = msgspec.structs.replace(
            header, kind=Kind.RESULT, handler_id=self._link.handler_id, port=output, payload=part
        )
        pieces = packet.encode(out, buffers)
        if self._link.sender.to_entry(routing.plan, self._link.session_id, pieces):
            self._note(header.sequence, PacketEvent.SENT, time.time(), packet.total(pieces))


class SourceLoop:
    """Reads a source and offers each frame to the entry's gateway, which numbers it; one offer at a time."""

    def __init__(self, link: Link, handler: Source[Any], running: threading.Event, closing: threading.Event) -> None:
        self._link = link
        self._handler = handler
        self._running = running
        self._closing = closing

    def run(self) -> None:
        """Read while the session runs, until closing."""
        ended = False
        while not self._closing.is_set():
            if ended or not self._running.wait(IDLE_S):
                self._closing.wait(IDLE_S if ended else 0)
                continue
            ended = not self._one()

    def _one(self) -> bool:
        """Offer one frame; returns False when the source has ended."""
        start, tick = time.time(), time.monotonic()
        try:
            value = self._handler.read()
        except EndOfSource:
            self._offer(Kind.SOURCE_END, None, start, start)
            return False
        except FrameError as error:
            log.warning("source %s: %s", self._link.handler_id, error)
            return True
        seconds = time.monotonic() - tick
        self._link.recorder.served(0.0, seconds)
        self._offer(Kind.SOURCE, value, start, start + seconds)
        return True

    def _offer(self, kind: Kind, value: Any, start: float, end: float) -> None:
        link, plan = self._link, self._link.routing().plan
        part, buffers = (None, []) if value is None else codec.to_part(value)
        header = Header(
            kind=kind,
            session_id=link.session_id,
            epoch=plan.epoch,
            sequence=0,
            timestamp=start,
            origin=link.settings.node_id,
            trace=[Span(link.handler_id, link.settings.node_id, start, start, end)],
            payload=part,
            handler_id=link.handler_id,
        )
        while link.inbox.receive(0) is not None:
            pass  # credits of earlier offers
        if link.sender.to_entry(plan, link.session_id, packet.encode(header, buffers)):
            self._await_credit()

    def _await_credit(self) -> None:
        """Wait until the entry took the frame, but not for ever: a new gateway knows nothing of the offer."""
        deadline = time.monotonic() + 5.0
        while not self._closing.is_set() and time.monotonic() < deadline and self._running.is_set():
            if self._link.inbox.receive(IDLE_S) is not None:
                return


def ending(values: list[Any]) -> EmptyPart | None:
    """Return how the frame ended before this handler, the worst way first, or None when every input has a value."""
    empty = [v for v in values if isinstance(v, EmptyPart)]
    return min(empty, key=lambda e: ("failed", "dropped", "ok").index(e.status), default=None)


def merged_trace(packets: list[Packet]) -> list[Span]:
    """Return the spans of all *packets*, each once, by their start."""
    if len(packets) == 1:
        return packets[0].header.trace
    spans = {(s.handler_id, s.node_id): s for p in packets for s in p.header.trace}
    return sorted(spans.values(), key=lambda s: s.start)
