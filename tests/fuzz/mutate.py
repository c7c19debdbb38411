"""How bytes are spoilt. Pure: a case is told by its seed and number, and is the same again each time."""

import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Mutation = Callable[[Random, bytearray, Sequence[bytes]], bytearray]

NUMBERS = (b"0", b"-1", b"1e309", b"NaN", b"Infinity", b"99999999999999999999999", b"9223372036854775808", b"1e-400")
HOSTILE_TEXT = (
    *(b"\0", b"\r\n", b"\n", b"\r\n\r\n", b"%00", b"%zz", b"%ff", b"../", b"..%2f", b"/./", b"//", b"\\", b"\xff\xfe"),
    *(b"\xed\xa0\x80", b"\xc0\xaf", b"\xf0\x9f\x92\xa9", b"\t", b"\x0b", b";", b'"', b"'", b"{", b"]", b"\\ud800"),
)
HEADERS = (
    *(
        b"Content-Length: 5",
        b"Content-Length: 5, 5",
        b"Content-Length: -1",
        b"Content-Length: +7",
        b"Content-Length:\t9",
    ),
    *(b"Content-Length: 18446744073709551617", b"Content-Length: 0x10", b"Transfer-Encoding: chunked"),
    *(b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: \x0bchunked", b"transfer-encoding : chunked"),
    *(b"Expect: 100-continue", b"Expect: 200-maybe", b"Connection: close", b"Connection: keep-alive, upgrade"),
    *(
        b"Upgrade: websocket",
        b"Content-Encoding: gzip",
        b"Content-Type: text/html",
        b"Host: a\r\nHost: b",
        b" folded: x",
    ),
    *(b"X-Client: \xff\xfe", b"X-Sequence: 1e9", b"X-Timestamp: NaN", b"Prefer: wait=99999999999999999999", b":empty"),
    *(b"Accept: */*;q=nan", b"Authorization: Bearer \xff", b"X-Pipelined: 1", b"No-Colon", b"X: " + b"y" * 9000),
)
CUT = b"\r\n\r\n"


def flip_bits(rng: Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    """Turn 1 to 8 bits."""
    for _time in range(rng.randint(1, 8)):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def set_bytes(rng: Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    """Overwrite a few bytes by extremes."""
    for _time in range(rng.randint(1, 4)):
        if data:
            data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, 0xC1))
    return data


def cut_off(rng: Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    """End early."""
    return data[: rng.randrange(len(data) + 1)]


def drop_piece(rng: Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    """Leave out a piece."""
    start = rng.randrange(len(data) + 1)
    del data[start : start + rng.randint(1, 32)]
    return data


def repeat_piece(rng: Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    """Have a piece twice, or many times."""
    start = rng.randrange(len(data) + 1)
    piece = data[start : start + rng.randint(1, 64)]
    data[start:start] = piece * rng.choice((1, 1, 2, 100))
    return data


def splice(rng: Random, data: bytearray, corpus: Sequence[bytes]) -> bytearray:
    """Go on with the end of another one."""
    other = rng.choice(corpus)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def insert_text(rng: Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    """Put in what parsers stumble over."""
    start = rng.randrange(len(data) + 1)
    data[start:start] = rng.choice(HOSTILE_TEXT)
    return data


def change_number(rng: Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    """Write another number where one stands."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", bytes(data[:4096])))
    if found:
        match = rng.choice(found)
        data[match.start() : match.end()] = rng.choice(NUMBERS)
    return data


def change_length(rng: Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    """Lie in a 32-bit length at a likely place: the packet's own, or inside its header."""
    if len(data) >= 4:
        start = 0 if rng.random() < 0.5 else rng.randrange(len(data) - 3)
        value = rng.choice((0, 1, len(data), len(data) - 4, 1 << 20, (1 << 20) + 1, 1 << 31, (1 << 32) - 1))
        data[start : start + 4] = value.to_bytes(4, rng.choice(("little", "big")))
    return data


def add_header(rng: Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    """Add one to three headers that do not belong, or contradict others."""
    for _time in range(rng.randint(1, 3)):
        lines = [m.end() for m in re.finditer(rb"\r\n", bytes(data[:16384]))] or [len(data)]
        start = rng.choice(lines)
        data[start:start] = rng.choice(HEADERS) + b"\r\n"
    return data


def repeat_header(rng: Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    """Have a header line twice, or so often that it is a flood."""
    lines = bytes(data).split(b"\r\n")
    if len(lines) > 2:
        line = rng.randrange(1, len(lines))
        lines[line:line] = [lines[line]] * rng.choice((1, 1, 2, 2000))
    return bytearray(b"\r\n".join(lines))


def nest(rng: Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    """Put a value of a JSON text deep into lists, objects or MessagePack arrays."""
    opening = rng.choice((b"[", b'{"a":', b"\x91", b"\x81\xa1a"))
    start = rng.randrange(len(data) + 1)
    data[start:start] = opening * rng.choice((3, 100, 5000))
    return data


def change_json(rng: Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    """Change a value of a JSON body to one of another kind, and keep it JSON; other bytes get another mutation."""
    head, cut, body = bytes(data).rpartition(CUT)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return flip_bits(rng, data, ())
    changed = json.dumps(_changed(rng, document)).encode()
    if cut:
        head = re.sub(rb"(?i)(content-length: *)\d+", rb"\g<1>%d" % len(changed), head)
    return bytearray(head + cut + changed)


def _changed(rng: Random, value: Any) -> Any:
    """Return *value* with a leaf, or the whole, replaced."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        if rng.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return value | {rng.choice((key, key, key, "surprise", "")): _changed(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.9:
        index = rng.randrange(len(value))
        return [*value[:index], _changed(rng, value[index]), *value[index + 1 :]]
    kinds = (
        None,
        True,
        -1,
        0,
        2**31,
        2**63,
        2**64,
        10**400,
        1e308,
        float("nan"),
        float("inf"),
        "",
        "\0",
        "\ud800",
        "x" * 5000,
    )
    return rng.choice((*kinds, [], {}, [[]], {"a": {}}, "../../etc/passwd", "NaN", "1" * 5000))


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits, set_bytes, cut_off, drop_piece, repeat_piece, splice, insert_text, change_number, change_length,
    add_header, repeat_header, nest, change_json, change_json,
)  # fmt: skip
LONGEST = 1 << 17  # bytes of a case


def spoilt(rng: Random, corpus: Sequence[bytes]) -> bytes:
    """Return one of *corpus* after one to four mutations."""
    data = bytearray(rng.choice(corpus))
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        data = rng.choice(MUTATIONS)(rng, data, corpus)[:LONGEST]
    return bytes(data)


def spoilt_request(rng: Random, corpus: Sequence[bytes]) -> bytes:
    """Return a request of *corpus*, spoilt: its head, its body with the length told right, or anywhere."""
    data = rng.choice(corpus)
    head, cut, body = data.partition(CUT)
    how = rng.random()
    if how < 0.4 and body:
        body = spoilt(rng, [body, *(other.partition(CUT)[2] or b"x" for other in corpus)])
        head = re.sub(rb"(?i)(content-length: *)\d+", rb"\g<1>%d" % len(body), head)
        return head + cut + body
    if how < 0.7:
        return spoilt(rng, [head + cut]) + body
    return spoilt(rng, corpus)
