"""Memory for a handler's picture: room in the inbox of the next handler, so that sending it copies nothing.

Handler.output(shape) ─▶ Lender ─▶ Outlet.loan ─▶ array in the slot, room for the header before it
execute returns that array ─▶ Loan.send: the header is written, the slot goes;  any other value: it is given back
"""

from dataclasses import dataclass
from math import prod

import msgspec
import numpy as np

from handlers.base import plain_memory
from handlers.types import Image
from node.transport.channel import ChannelError, Slot
from node.transport.routing import Routing, Target
from node.worker.link import Link
from wire import packet
from wire.packet import COMMON_ROOM, Header, ImagePart, PacketError, Span

HEAD, SPAN, WANT = 360, 48, 12  # bytes at most: of a picture's header without lists, of an item of each list


@dataclass
class Loan:
    """A slot of the next inbox with a picture in it."""

    target: Target
    array: Image
    room: int  # bytes for the header
    slot: Slot

    @property
    def size(self) -> int:
        """Bytes of the packet."""
        return self.room + self.array.nbytes

    def send(self, header: Header) -> bool:
        """Write *header* before the picture and send both; from now on the receiver reads the picture.

        False when the inbox did not take it. The slot is gone then, but nothing else was loaned from its outlet, so
        the picture is still whole for a copy.
        """
        try:
            self.slot.view[: self.room] = packet.encode_head(header, [self.array.nbytes], self.room)
        except PacketError:  # too long for the room
            return False
        self.array.flags.writeable = False
        return self.slot.send()


class Lender:
    """Lends for the frame that is being executed: the picture asked for last is the one that can go without a copy."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._frame: tuple[Routing, Header] | None = None
        self._loan: Loan | None = None

    def begin(self, routing: Routing, header: Header) -> None:
        """A frame is about to be executed."""
        self._frame, self._loan = (routing, header), None

    def end(self) -> None:
        """The frame is through: a slot that was not sent is given back."""
        self._frame = self._loan = None

    def output(self, shape: tuple[int, int, int], port: int) -> Image:
        """Return memory for a picture at output *port*, uint8, not set; see handlers.base.Handler.output."""
        self._loan = self._borrow(shape, port)
        return plain_memory(shape, port) if self._loan is None else self._loan.array

    def claim(self, value: object) -> Loan | None:
        """Return the loan that *value* is in, once, or None."""
        loan = self._loan
        if loan is None or value is not loan.array:
            return None
        self._loan = None
        return loan

    def _borrow(self, shape: tuple[int, int, int], port: int) -> Loan | None:
        if self._frame is None or len(shape) != 3 or not prod(shape):
            return None
        routing, header = self._frame
        target = first_here(routing, header, port, self._link.settings.node_id)
        if target is None:
            return None
        room, size = header_room(header, shape), prod(shape)
        outlet = self._link.sender.outlet(self._link.session_id, target.handler_id, target.inputs)
        try:
            slot = outlet.loan(room + size)
        except ChannelError:  # sending says so
            return None
        if slot is None:
            return None
        array: Image = np.frombuffer(slot.view, np.uint8, size, room).reshape(shape)
        return Loan(target, array, room, slot)


def first_here(routing: Routing, header: Header, port: int, node_id: int) -> Target | None:
    """Return the first link of output *port* that this frame takes to the one place of a handler on this node.

    None when there is none, and when the frame takes other links to that handler too: their packets come from the
    same outlet.
    """
    if port >= len(routing.outputs):
        return None
    taken = [t.handler_id for o in routing.outputs for t in o.targets if t.needed(header)]
    for target in routing.outputs[port].targets:
        alone = len(target.replicas) == 1 and target.replicas[0].node_id == node_id
        if alone and taken.count(target.handler_id) == 1:
            return target
    return None


def header_room(header: Header, shape: tuple[int, int, int]) -> int:
    """Return the bytes to keep for *header* with one more span, before a picture of *shape*."""
    if HEAD + SPAN * (len(header.trace) + 1) + WANT * len(header.want) <= COMMON_ROOM:
        return COMMON_ROOM
    trace = [*header.trace, Span(2**31, 2**31, 0.5, 0.5, 0.5, 2**31)]
    part = ImagePart(shape=shape, buffer=0)
    longest = msgspec.structs.replace(header, trace=trace, payload=part, handler_id=2**31, port=2**31)
    return packet.head_room(longest, [prod(shape)])
