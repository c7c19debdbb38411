"""Protocol Buffers on the wire, as much as model files need: no schema, no library.

https://protobuf.dev/programming-guides/encoding/ : a field is a varint key (number << 3 | wire type) and a value.
"""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
FIXED_SIZES = {FIXED64: 8, FIXED32: 4}

Value = int | bytes


def fields(data: memoryview) -> Iterator[tuple[int, int, Value]]:
    """Return the (number, wire type, value) of each field of a message. Raises ValueError when it is cut off."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == VARINT:
            value: Value
            value, at = _read_varint(data, at)
        else:
            if wire_type == BYTES:
                size, at = _read_varint(data, at)
            else:
                size = FIXED_SIZES.get(wire_type, -1)
            if size < 0 or at + size > len(data):
                raise ValueError(f"no protobuf: field {number} of wire type {wire_type} at byte {at}")
            value, at = bytes(data[at : at + size]), at + size
        yield number, wire_type, value


def field(number: int, value: int | bytes | str, wire_type: int | None = None) -> bytes:
    """Return one field: an int as varint, bytes and str with their length, or bytes as a fixed *wire_type*."""
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    if wire_type in FIXED_SIZES:
        return varint(number << 3 | wire_type) + data
    return varint(number << 3 | BYTES) + varint(len(data)) + data


def varint(value: int) -> bytes:
    """Return *value* in base 128, low digits first; negative ones as 64-bit two's complement."""
    value &= (1 << 64) - 1
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        digit = data[at]
        value |= (digit & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if digit < 0x80:
            return value, at
    raise ValueError(f"no protobuf: a number is cut off at byte {at}")
