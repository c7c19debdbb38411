"""A packet says the same at both ends, and bytes that are none say so and nothing else."""

import struct
import tracemalloc
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from handlers import codec
from handlers.types import Box, Boxes, Encoded
from wire import packet
from wire.packet import ALIGNMENT, ArrayPart, BoxPart, EmptyPart, Header, ImagePart, Kind, PacketError, Span

HEADER = Header(session_id=7, epoch=3, sequence=5, timestamp=1.5, origin=1)
DTYPES = {"uint8": np.uint8, "int32": np.int32, "float32": np.float32, "float64": np.float64}

integers = st.integers(-(2**31), 2**31)
reals = st.floats(allow_nan=False, width=64)


@st.composite
def images(draw: st.DrawFn) -> NDArray[np.uint8]:
    height, width = draw(st.integers(0, 9)), draw(st.integers(0, 9))
    return np.frombuffer(draw(st.binary(min_size=height * width * 3, max_size=height * width * 3)), np.uint8).reshape(
        height, width, 3
    )


@st.composite
def arrays(draw: st.DrawFn) -> NDArray[Any]:
    shape = draw(st.lists(st.integers(0, 4), min_size=0, max_size=3))
    return np.arange(int(np.prod(shape)), dtype=DTYPES[draw(st.sampled_from(sorted(DTYPES)))]).reshape(shape)


boxes = st.builds(
    Box,
    label=st.text(max_size=20),
    score=reals,
    x=integers,
    y=integers,
    w=integers,
    h=integers,
    distance=st.none() | reals,
    crop=st.none() | images(),
    crop_x=st.none() | integers,
    crop_y=st.none() | integers,
    embedding=st.none() | arrays(),
    landmarks=st.none() | arrays(),
    track_id=st.none() | integers,
)
empties = st.builds(
    EmptyPart,
    status=st.sampled_from(["ok", "failed", "dropped"]),
    ended_by=integers,
    reason=st.none() | st.text(max_size=50),
    broken=st.booleans(),
)
encoded = st.builds(Encoded, data=st.binary(max_size=300), media_type=st.text(max_size=20))
values = images() | encoded | st.lists(boxes, max_size=4).map(Boxes) | empties
spans = st.builds(Span, integers, integers, reals, reals, reals, integers)
headers = st.builds(
    Header,
    session_id=integers,
    epoch=integers,
    sequence=st.integers(0, 2**63 - 1),
    timestamp=reals,
    origin=integers,
    want=st.lists(st.tuples(integers, integers), max_size=5),
    trace=st.lists(spans, max_size=5),
    kind=st.sampled_from(Kind),
    handler_id=integers,
    port=integers,
)


def joined(pieces: list[Any]) -> bytes:
    return b"".join(bytes(p) for p in pieces)


def whole(value: Any, header: Header = HEADER) -> bytes:
    part, buffers = codec.to_part(value)
    return joined(packet.encode(msgspec.structs.replace(header, payload=part), buffers))


def same(left: Any, right: Any) -> bool:
    """Compare values that may hold arrays."""
    if isinstance(left, np.ndarray):
        return bool(left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes())
    if isinstance(left, Encoded):
        return bytes(left.data) == bytes(right.data) and left.media_type == right.media_type
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, Box):
        return all(same(getattr(left, f), getattr(right, f)) for f in Box.__dataclass_fields__)
    return bool(left == right)


@given(headers, values)
def test_what_goes_in_comes_out(header: Header, value: Any) -> None:
    part, buffers = codec.to_part(value)
    data = joined(packet.encode(msgspec.structs.replace(header, payload=part), buffers))
    arrived = packet.decode(memoryview(data))
    assert msgspec.structs.replace(arrived.header, payload=None, buffers=[]) == header
    assert arrived.size == len(data)
    assert same(value, codec.from_part(arrived.header.payload, arrived.buffers))


@given(headers, values)
def test_buffers_are_aligned_and_nothing_follows_the_last(header: Header, value: Any) -> None:
    part, buffers = codec.to_part(value)
    pieces = packet.encode(msgspec.structs.replace(header, payload=part), buffers)
    data = joined(pieces)
    table = packet.decode_header(memoryview(data)).buffers
    assert packet.total(pieces) == len(data)
    assert all(offset % ALIGNMENT == 0 for offset, _ in table)
    filled = [(o, n) for o, n in table if n]
    assert not filled or len(data) == sum(filled[-1])
    assert all(a + n <= b for (a, n), (b, _) in pairwise(filled))


@given(headers, st.lists(st.integers(0, 2**40), max_size=20), st.integers(0, 2**63 - 1))
def test_the_room_that_is_kept_suffices_for_every_later_sequence(header: Header, sizes: list[int], last: int) -> None:
    """The room is measured before the frame has its number; epoch and sequence may have grown by then."""
    first = msgspec.structs.replace(header, sequence=0)
    room = packet.head_room(first, sizes)
    head = packet.encode_head(msgspec.structs.replace(header, sequence=last), sizes, room)
    assert len(head) == room
    assert room % ALIGNMENT == 0
    assert packet.decode_header(memoryview(head)).sequence == last


def test_a_header_that_outgrew_its_room_is_refused() -> None:
    room = packet.head_room(HEADER, [10])
    with pytest.raises(PacketError, match="is over"):
        packet.encode_head(msgspec.structs.replace(HEADER, want=[(1, 2)] * 200), [10], room)


def test_a_header_over_a_mebibyte_is_refused_at_both_ends() -> None:
    with pytest.raises(PacketError):
        packet.encode(
            msgspec.structs.replace(HEADER, payload=EmptyPart(status="ok", ended_by=1, reason="x" * packet.MAX_HEADER))
        )
    with pytest.raises(PacketError):
        packet.decode(memoryview(struct.pack("<I", packet.MAX_HEADER + 1) + bytes(packet.MAX_HEADER + 1)))


@settings(max_examples=300)
@given(st.data(), values)
def test_damaged_bytes_are_a_packet_or_a_packet_error(data: st.DataObject, value: Any) -> None:
    damaged = bytearray(whole(value))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        arrived = packet.decode(memoryview(damaged))
    except PacketError:
        return
    if arrived.header.payload is not None:
        codec.from_part(arrived.header.payload, arrived.buffers)  # what was accepted can be read


@given(values, st.floats(0, 1, exclude_max=True))
def test_a_packet_cut_short_is_an_error(value: Any, share: float) -> None:
    data = whole(value)
    with pytest.raises(PacketError):
        packet.decode(memoryview(data[: int(share * len(data))]))


@given(st.binary(max_size=200))
def test_noise_is_an_error(noise: bytes) -> None:
    with pytest.raises(PacketError):
        packet.decode(memoryview(noise))
    with pytest.raises(PacketError):
        packet.decode(memoryview(struct.pack("<I", len(noise)) + noise))


def handmade(**members: Any) -> memoryview:
    """Return a packet whose header claims what encode never would."""
    plain = {"session_id": 7, "epoch": 3, "sequence": 5, "timestamp": 1.5, "origin": 1} | members
    body = msgspec.msgpack.encode(plain)
    return memoryview(struct.pack("<I", len(body)) + body)


@pytest.mark.parametrize(
    "members",
    [
        {"buffers": [(0, 2**62)]},
        {"buffers": [(2**63 - 1, 2**63 - 1)]},
        {"buffers": [(-5, 5)]},
        {"buffers": [(5, -5)]},
        {"buffers": [(2**64 - 1, 1)]},
        {"payload": {"type": "array", "shape": [2**31] * 8, "dtype": "float64", "buffer": 0}, "buffers": [(0, 8)]},
        {"payload": {"type": "array", "shape": [1] * 100_000, "dtype": "uint8", "buffer": 0}, "buffers": [(0, 1)]},
        {"payload": {"type": "array", "shape": [1], "dtype": "object", "buffer": 0}, "buffers": [(0, 8)]},
        {"payload": {"type": "array", "shape": [-1], "dtype": "uint8", "buffer": 0}, "buffers": [(0, 8)]},
        {"payload": {"type": "array", "shape": [1], "dtype": "uint8", "buffer": 3}, "buffers": [(0, 1)]},
        {"payload": {"type": "image", "shape": [1, 1, 4], "buffer": 0}, "buffers": [(0, 4)]},
        {"payload": {"type": "image", "shape": [1, 1, 3], "buffer": 0, "order": "RGB"}, "buffers": [(0, 3)]},
        {"payload": {"type": "encoded", "media_type": "image/jpeg", "buffer": 0}},
        {"payload": {"type": "empty", "status": "excellent", "ended_by": 1}},
        {"payload": {"type": "surprise"}},
        {"sequence": -1},
        {"sequence": 2**63},
        {"session_id": "7"},
        {"unknown": 1},
        {"kind": "gift"},
    ],
)
def test_a_header_that_claims_the_impossible_is_an_error_and_costs_nothing(members: dict[str, Any]) -> None:
    data = handmade(**members)
    tracemalloc.start()
    try:
        with pytest.raises(PacketError):
            packet.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_deep_nesting_is_an_error() -> None:
    body = b"\x81\xa7payload" + b"\x91" * 100_000
    with pytest.raises(PacketError):
        packet.decode(memoryview(struct.pack("<I", len(body)) + body))


def test_received_pictures_are_views_that_nobody_may_write_to() -> None:
    data = bytearray(whole(np.full((2, 2, 3), 9, np.uint8)))
    arrived = packet.decode(memoryview(data))
    picture = codec.from_part(arrived.header.payload, arrived.buffers)
    with pytest.raises(ValueError, match="read-only"):
        picture[0] = 0
    data[-1] = 42
    assert picture[-1, -1, -1] == 42  # the same memory


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        [1, 2],
        None,
        "text",
        [Box("a", 1.0, 0, 0, 1, 1, landmarks=np.zeros((5, 2), np.int64))],
        [Box("a", 1.0, 0, 0, 1, 1, embedding=np.zeros(128, np.float16))],
    ],
)
def test_what_is_no_value_of_a_handler_is_a_type_error(value: Any) -> None:
    """Found where it is made: the far end would only see an unreadable packet."""
    with pytest.raises(TypeError):
        codec.to_part(value)


def test_a_slice_of_a_picture_travels_as_it_looks() -> None:
    picture = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    for view in (picture[1:5:2, ::-1], picture.transpose(1, 0, 2), picture[:, :0]):
        arrived = packet.decode(memoryview(whole(view)))
        assert same(np.ascontiguousarray(view), codec.from_part(arrived.header.payload, arrived.buffers))


def test_parts_name_what_they_hold() -> None:
    """BoxPart keeps the order of buffers: crop, embedding, landmarks."""
    box = Box(
        "a", 1.0, 0, 0, 1, 1, crop=np.zeros((2, 2, 3), np.uint8), embedding=np.zeros(3), landmarks=np.zeros((1, 2))
    )
    part, buffers = codec.to_part([box])
    found: BoxPart = part.boxes[0]  # type: ignore[union-attr]
    assert found.crop == ImagePart(shape=(2, 2, 3), buffer=0)
    assert found.embedding == ArrayPart(shape=(3,), dtype="float64", buffer=1)
    assert found.landmarks == ArrayPart(shape=(1, 2), dtype="float64", buffer=2)
    assert [memoryview(b).nbytes for b in buffers] == [12, 24, 16]
