"""The packet: one unit of data on its way between handlers, the same bytes in shared memory and over HTTP.

    | header length, uint32 LE | header, MessagePack map | padding | buffer 0 | padding | buffer 1 | ...

Buffers start at multiples of ALIGNMENT from the packet's first byte. The header names every buffer by offset
and length, so a reader needs no copy. Bytes from the network are data: `decode` checks every number before it
is used and raises PacketError; nothing is unpickled or evaluated, nothing is allocated by a size that a header
claims. This module knows no numpy: handlers.types turns parts into arrays.
"""

from collections.abc import Sequence
from enum import StrEnum
from math import prod
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

MEDIA_TYPE = "application/vnd.faceservice.packet"
ALIGNMENT = 64  # bytes: a cache line, and enough for any SIMD load
MAX_HEADER = 1 << 20  # bytes
COMMON_ROOM = 512  # bytes kept for length and header: enough for a picture with a trace of eight handlers
MAX_DIMENSIONS = 8
UNADDRESSED = -1  # handler_id and port of a packet that leaves both to the URL it is posted to
ITEM_SIZES = {"uint8": 1, "int32": 4, "float32": 4, "float64": 8}

Buffer = bytes | bytearray | memoryview


class PacketError(ValueError):
    """These bytes are no packet; the message says where they stop being one."""


class Kind(StrEnum):
    """What a packet is for."""

    FRAME = "frame"  # to an input of a handler
    RESULT = "result"  # from an exit to the entry's gateway
    SOURCE = "source"  # from a source handler to the entry's gateway, which numbers it
    SOURCE_END = "source_end"  # the source has no more
    CREDIT = "credit"  # from the gateway to a source: the frame was taken, send the next


class ArrayPart(Struct, frozen=True, forbid_unknown_fields=True, tag="array"):
    """Numbers in a buffer, C order."""

    shape: Annotated[tuple[Annotated[int, Meta(ge=0, le=2**31)], ...], Meta(max_length=MAX_DIMENSIONS)]
    dtype: str  # one of ITEM_SIZES
    buffer: Annotated[int, Meta(ge=0)]


class ImagePart(Struct, frozen=True, forbid_unknown_fields=True, tag="image"):
    """A picture: uint8 (H, W, 3)."""

    shape: tuple[
        Annotated[int, Meta(ge=0, le=2**20)], Annotated[int, Meta(ge=0, le=2**20)], Annotated[int, Meta(ge=1, le=4)]
    ]
    buffer: Annotated[int, Meta(ge=0)]
    dtype: str = "uint8"
    order: str = "BGR"


class EncodedPart(Struct, frozen=True, forbid_unknown_fields=True, tag="encoded"):
    """A picture as a file holds it."""

    media_type: str
    buffer: Annotated[int, Meta(ge=0)]
    decode: bool = False  # True: a hop encoded it; the receiver must decode before the handler sees it


class BoxPart(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One found thing, in pixels of the frame."""

    label: str
    score: float
    x: int
    y: int
    w: int
    h: int
    distance: float | None = None
    crop: ImagePart | None = None
    crop_x: int | None = None  # of the crop's upper left corner in the frame
    crop_y: int | None = None
    embedding: ArrayPart | None = None
    landmarks: ArrayPart | None = None
    track_id: int | None = None


class BoxesPart(Struct, frozen=True, forbid_unknown_fields=True, tag="boxes"):
    """Found things."""

    boxes: list[BoxPart]


class EmptyPart(Struct, frozen=True, forbid_unknown_fields=True, tag="empty"):
    """The frame ended before this output; it travels on so that joins and exits know."""

    status: Literal["ok", "failed", "dropped"]
    ended_by: int  # handler_id
    reason: str | None = None
    broken: bool = False  # the handler broke, not the frame: HTTP 500, not 422


Part = ArrayPart | ImagePart | EncodedPart | BoxesPart | EmptyPart


class Span(Struct, frozen=True, array_like=True):
    """A handler's work on the frame, s since the epoch by that node's clock."""

    handler_id: int
    node_id: int
    received: float
    start: float
    end: float
    size: int = 0  # bytes of the packet that the handler received


class Header(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The packet's header. Where it goes (handler, input) is in the URL or in `handler_id`, `port`."""

    session_id: int
    epoch: int
    sequence: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    timestamp: float  # when the entry took the frame, s since the epoch
    origin: int  # node_id of the entry
    want: list[tuple[int, int]] = []  # on-demand exits (handler_id, output) that this frame needs
    trace: list[Span] = []
    payload: Part | None = None
    buffers: list[tuple[int, int]] = []  # (offset from the packet's start, length), bytes
    kind: Kind = Kind.FRAME
    handler_id: int = UNADDRESSED  # target of a frame; source of a result
    port: int = UNADDRESSED  # input of a frame; output of a result
    horizon: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None  # lowest sequence open when the entry sent this
    previous: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None  # highest one below this that was open then


_decoder = msgspec.msgpack.Decoder(Header)
_encoder = msgspec.msgpack.Encoder()
_PADDING = bytes(ALIGNMENT)


class Packet:
    """A decoded packet: its header, and its buffers as views of the bytes it came in."""

    __slots__ = ("buffers", "header", "size")

    def __init__(self, header: Header, buffers: Sequence[memoryview], size: int) -> None:
        self.header = header
        self.buffers = buffers
        self.size = size

    def __repr__(self) -> str:
        h = self.header
        return f"<Packet {h.kind} session {h.session_id} sequence {h.sequence} epoch {h.epoch} {self.size} B>"


def encode(header: Header, buffers: Sequence[Buffer] = ()) -> list[Buffer]:
    """Return the pieces whose concatenation is the packet; no buffer is copied.

    header.buffers is filled in here. Send the pieces with `sendmsg`, or copy them into a slot.
    """
    if not buffers:
        return [encode_head(header, (), 0)]
    sizes = [memoryview(b).nbytes for b in buffers]
    try:
        head = encode_head(header, sizes, COMMON_ROOM)
    except PacketError:
        head = encode_head(header, sizes, head_room(header, sizes))
    pieces: list[Buffer] = [head]
    padding = 0
    for buffer, size in zip(buffers, sizes, strict=True):
        if not size:
            continue
        if padding:
            pieces.append(_PADDING[:padding])
        pieces.append(buffer)
        padding = -size % ALIGNMENT
    return pieces


def head_room(header: Header, sizes: Sequence[int]) -> int:
    """Return the bytes to keep before the first buffer: enough for any sequence, and for the table of buffers."""
    return -(-(4 + len(_encoder.encode(header)) + 16 + 24 * len(sizes)) // ALIGNMENT) * ALIGNMENT


def encode_head(header: Header, sizes: Sequence[int], room: int) -> bytes:
    """Return length, header and padding up to *room* bytes (0: no padding). Raises PacketError when it is too long."""
    offset, table = room, []
    for size in sizes:
        table.append((offset if size else room, size))  # an empty buffer has no place of its own
        offset += size + (-size % ALIGNMENT)
    body = _encoder.encode(msgspec.structs.replace(header, buffers=table))
    if len(body) > MAX_HEADER or (room and 4 + len(body) > room):
        raise PacketError(f"header of {len(body)} bytes is over {room or MAX_HEADER}")
    head = len(body).to_bytes(4, "little") + body
    return head.ljust(room, b"\0")


def total(pieces: Sequence[Buffer]) -> int:
    """Return the number of bytes in *pieces*."""
    return sum([p.nbytes if type(p) is memoryview else len(p) for p in pieces])


def decode_header(data: memoryview) -> Header:
    """Return the checked header of the packet in *data* (bytes, one dimension). Raises PacketError."""
    if len(data) < 4:
        raise PacketError(f"packet of {len(data)} bytes has no header length")
    length = int.from_bytes(data[:4], "little")
    if length > MAX_HEADER:
        raise PacketError(f"header length {length} is over {MAX_HEADER}")
    if 4 + length > len(data):
        raise PacketError(f"header of {length} bytes in a packet of {len(data)}")
    try:
        return _decoder.decode(data[4 : 4 + length])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise PacketError(f"header: {error}") from error


def decode(data: memoryview) -> Packet:
    """Return the packet in *data*; its buffers are views, not copies. Raises PacketError."""
    header = decode_header(data)
    buffers = []
    for index, (offset, length) in enumerate(header.buffers):
        if offset < 0 or length < 0 or offset + length > len(data):
            raise PacketError(f"buffer {index} ({offset}+{length}) lies outside the packet of {len(data)} bytes")
        buffers.append(data[offset : offset + length])
    _check(header.payload, buffers)
    return Packet(header, buffers, len(data))


def _check(part: Part | None, buffers: Sequence[memoryview]) -> None:
    """Raise PacketError unless every array of *part* has a buffer of exactly its size."""
    if isinstance(part, EncodedPart):
        if part.buffer >= len(buffers):
            raise PacketError(f"no buffer {part.buffer}")
    elif isinstance(part, (ArrayPart, ImagePart)):
        _check_array(part, buffers)
    elif isinstance(part, BoxesPart):
        for box in part.boxes:
            for array in (box.crop, box.embedding, box.landmarks):
                if array is not None:
                    _check_array(array, buffers)


def _check_array(part: ArrayPart | ImagePart, buffers: Sequence[memoryview]) -> None:
    item = ITEM_SIZES.get(part.dtype)
    if item is None:
        raise PacketError(f"dtype {part.dtype!r} is not one of {', '.join(ITEM_SIZES)}")
    if isinstance(part, ImagePart) and (part.dtype, part.order, part.shape[2]) != ("uint8", "BGR", 3):
        raise PacketError(f"image is {part.dtype} {part.order} {part.shape}, not uint8 BGR (H, W, 3)")
    if part.buffer >= len(buffers):
        raise PacketError(f"no buffer {part.buffer}")
    if prod(part.shape) * item != len(buffers[part.buffer]):
        raise PacketError(f"shape {part.shape} of {part.dtype} in a buffer of {len(buffers[part.buffer])} bytes")
