"""A handler's values on their way: to handlers here, to other nodes' gateways, to the entry."""

import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec

from handlers import codec
from node.transport.routing import Output, Routing, Target
from node.worker.early import Early
from node.worker.lending import Lender, Loan
from node.worker.link import Link
from node.worker.pictures import as_jpeg, plain_boxes
from wire import packet
from wire.graph import wanted
from wire.messages import Encoding, PacketEvent, Route
from wire.packet import EmptyPart, Header, Kind, Span

log = logging.getLogger(__name__)


class Outgoing:
    """Sends what the handler gives; used by the main thread alone."""

    def __init__(self, link: Link, lender: Lender) -> None:
        self._link = link
        self._lender = lender
        self._early = Early()

    def look_back(self) -> None:
        """Say so when frames that went by an older plan than theirs may be nowhere, now that it is over."""
        if self._early:
            newest, sender = self._link.routing(), self._link.sender
            through = self._early.astray(newest, sender.let_go, idle=sender.idle)
            if through is not None:
                self._link.astray(newest.plan.accept_from, through)

    def send_or_fail(self, routing: Routing, header: Header, value: Any, trace: list[Span]) -> None:
        """Send *value*; what no output can carry fails the frame, not the process."""
        try:
            self.send(routing, header, value, trace)
        except Exception as error:
            handler_id = self._link.handler_id
            log.exception("handler %s gave what cannot be sent", handler_id)
            reason = f"{type(error).__name__}: {error}"
            broken = EmptyPart(status="failed", ended_by=handler_id, reason=reason, broken=True)
            self.send(routing, header, broken, trace)

    def send(self, routing: Routing, header: Header, value: Any, trace: list[Span]) -> None:
        """Send *value* (one per output; an EmptyPart goes to all of them) where the plan says.

        routing: of the frame's arrival; one that came under a newer plan than was known then goes by what is known now,
        and look_back() looks after it when that is an older plan still.
        """
        if header.epoch > routing.plan.epoch:
            routing = self._link.routing()
            if header.epoch > routing.plan.epoch:
                self._early.note(routing, header.sequence, self._link.sender.let_go)
        several = len(routing.outputs) > 1 and not isinstance(value, EmptyPart)
        values = value if several else [value] * len(routing.outputs)
        for output, one in zip(routing.outputs, values, strict=True):
            self._send_output(routing, output, msgspec.structs.replace(header, trace=trace), one)

    def _send_output(self, routing: Routing, output: Output, header: Header, value: Any) -> None:
        """Send to all targets; the one whose slot *value* is in comes last, since the others copy from there."""
        targets = [t for t in output.targets if t.needed(header)]
        loan = self._lender.claim(value)
        if loan is not None and loan.target not in targets:
            loan = None
        raw = codec.to_part(value) if targets else None
        for target in targets:
            if loan is None or target is not loan.target:
                self._send_target(target, header, value, raw)
        if output.exit is not None and wanted([output.exit], header.want):
            self._send_result(routing, output.exit.output, header, value)
        if loan is not None:
            self._send_loan(loan, header, raw)

    def _send_loan(self, loan: Loan, header: Header, raw: Any) -> None:
        target = loan.target
        whole = addressed(header, target, raw[0])
        if loan.send(whole):
            self._link.note(header.sequence, PacketEvent.SENT, time.time(), loan.size)
            return
        copy = loan.array.copy()  # before anything else is loaned from that outlet
        self._send_target(target, header, copy, codec.to_part(copy))

    def _send_target(self, target: Target, header: Header, value: Any, raw: Any) -> None:
        def pieces_for(route: Route) -> list[packet.Buffer]:
            part, buffers = raw
            if target.encoding is Encoding.JPEG and route.node_id != self._link.settings.node_id:
                part, buffers = as_jpeg(value, for_hop=True) or raw
            return packet.encode(addressed(header, target, part), buffers)

        self._link.sender.send(
            self._link.session_id, target, header.sequence, pieces_for, taken=self._noted(header.sequence), later=True
        )

    def _send_result(self, routing: Routing, output: int, header: Header, value: Any) -> None:
        part, buffers = (None, []) if value is None else as_jpeg(value) or codec.to_part(plain_boxes(value))
        out = msgspec.structs.replace(
            header, kind=Kind.RESULT, handler_id=self._link.handler_id, port=output, payload=part
        )
        pieces = packet.encode(out, buffers)
        taken = self._noted(header.sequence)
        self._link.sender.to_entry(routing.plan, self._link.session_id, pieces, taken=taken, later=True)

    def _noted(self, sequence: int) -> Callable[[float, int], None]:
        """Return what notes that a packet was sent, once its receiver has it."""
        return lambda at, size: self._link.note(sequence, PacketEvent.SENT, at, size)


def addressed(header: Header, target: Target, part: Any) -> Header:
    """Return *header* for *target* with the payload *part*."""
    return msgspec.structs.replace(
        header, kind=Kind.FRAME, handler_id=target.handler_id, port=target.port, payload=part
    )
