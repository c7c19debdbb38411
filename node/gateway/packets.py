"""Packets from other nodes: frames for handlers here, and results for entries here."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from node.gateway.entry import Entry
from node.gateway.sessions import Held, Sessions
from node.gateway.tasks import AtOnce
from node.transport.channel import Outlet, Slot
from node.transport.connection import Connection
from node.transport.forward import fill
from node.transport.hop_link import DONE_HEADER
from node.transport.http11 import HttpError, Request
from wire import packet
from wire.packet import MEDIA_TYPE, UNADDRESSED, Kind, PacketError
from wire.tokens import Keyring

HEADER_ROOM = 1 << 20  # bytes that a packet may be longer than the frame it carries
RAW_LIMIT = 256 << 20  # bytes: a raw 8K picture with crops
FULL_S = 0.05  # when to try a full inbox again


@dataclass(frozen=True, slots=True)
class Input:
    """Where the packets of one upstream link go."""

    sessions: Sessions
    held: Held
    handler_id: int
    port: int
    outlet: Outlet
    keys: Keyring  # by which its sender was let in
    sender: int | None  # the node whose token it shows; None: a token of all

    def task(self, request: Request) -> "InputTask":
        """Return the taking of one packet. Raises HttpError."""
        held = self.held
        if self.sessions.get(held.session_id) is not held or not held.here(self.handler_id):
            request.resolved = None
            raise HttpError(404, f"handler {self.handler_id} of session {held.session_id} is not here any more")
        slot = self.outlet.loan(request.content_length)
        if slot is None:
            raise HttpError(503, "the handler's inbox is full", retry_after=FULL_S)
        return InputTask(self, slot)


class InputTask(AtOnce):
    """A packet that is received straight into the handler's inbox."""

    def __init__(self, target: Input, slot: Slot) -> None:
        self._target = target
        self._slot = slot
        self.room = slot.view

    def complete(self, connection: Connection, wake: Callable[[], None]) -> bool:
        """Check the packet, hand it over, answer."""
        target, slot = self._target, self._slot
        held = target.held
        header = checked(slot.view, held, target.sender).header
        if header.handler_id == header.port == UNADDRESSED:
            slot, header = readdressed(slot, target)
        if (header.handler_id, header.port) != (target.handler_id, target.port):
            raise HttpError(422, "the packet is addressed to another input than the URL")
        if header.kind is not Kind.FRAME or header.payload is None:
            raise HttpError(422, f"a {header.kind} packet, or no payload, where frames belong")
        if not slot.send():
            raise HttpError(503, "the handler's inbox is full or the handler is starting", retry_after=FULL_S)
        if len(held.plan.routes.get(target.handler_id, ())) > 1:
            self._accept_at_replica(connection)
        else:
            connection.accept()
        return True

    def _accept_at_replica(self, connection: Connection) -> None:
        """Answer with 202 and how far this replica is, so that the sender can share frames out."""
        target = self._target
        last = target.sessions.last_done(target.held.session_id, target.handler_id)
        connection.respond(202, {} if last is None else {DONE_HEADER: str(last)})


@dataclass(frozen=True, slots=True)
class Reports:
    """Where exits on other nodes report to."""

    held: Held
    entry: Entry
    sender: int | None  # as above

    def task(self, request: Request) -> "ReportTask":
        """Return the taking of one report."""
        return ReportTask(self, request.content_length)


class ReportTask(AtOnce):
    """An exit's word on a frame."""

    def __init__(self, target: Reports, length: int) -> None:
        self._target = target
        self.room = memoryview(bytearray(length))

    def complete(self, connection: Connection, wake: Callable[[], None]) -> bool:
        """Check the packet, tell the entry, answer."""
        arrived = checked(self.room, self._target.held, self._target.sender)
        if arrived.header.kind is not Kind.RESULT:
            raise HttpError(422, f"a {arrived.header.kind} packet where results belong")
        self._target.entry.report(arrived)
        connection.accept()
        return True


def check_packet(request: Request, max_frame: int) -> None:
    """Check that a head promises a packet of a size that can be. Raises HttpError."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != MEDIA_TYPE:
        raise HttpError(415, f"only {MEDIA_TYPE} here")
    if not request.content_length:
        raise HttpError(400, "empty body")
    if request.content_length > 4 * max_frame + HEADER_ROOM and request.content_length > RAW_LIMIT:
        raise HttpError(413, f"packet of {request.content_length} bytes", close=True)


def checked(data: memoryview, held: Held, sender: int | None) -> packet.Packet:
    """Return a whole, well-formed packet of a welcome epoch and node. Raises HttpError."""
    try:
        arrived = packet.decode(data)
    except PacketError as error:
        raise HttpError(422, str(error)) from error
    header = arrived.header
    if header.epoch < held.plan.accept_from:
        raise HttpError(409, f"epoch {header.epoch} is over: from {held.plan.accept_from} on")
    check_sender(held, sender)
    if header.session_id != held.session_id:
        raise HttpError(422, f"a packet of session {header.session_id}")
    return arrived


def check_sender(held: Held, sender: int | None) -> None:
    """Return when node *sender* may speak for its part of the session. Raises HttpError 403.

    Nodes learn of a new plan one after the other: a sender that knows a newer one tries again (transport/pipeline.py).
    """
    if not held.takes_from(sender):
        raise HttpError(403, f"node {sender} has no part in session {held.session_id}, as this node knows it")


def readdressed(slot: Slot, target: Input) -> tuple[Slot, packet.Header]:
    """Return a slot with the packet of *slot* as the URL addresses it: a handler sees no URL. Raises HttpError 503."""
    arrived = packet.decode(slot.view)
    header = msgspec.structs.replace(arrived.header, handler_id=target.handler_id, port=target.port)
    pieces = packet.encode(header, arrived.buffers)
    copy = target.outlet.loan(packet.total(pieces))
    if copy is None:
        raise HttpError(503, "the handler's inbox is full", retry_after=FULL_S)
    fill(copy, pieces)
    return copy, header
