"""What clients get: pieces from the exits become one result; results wait here for their turn and for repeats. Pure."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from wire.messages import FrameStatus
from wire.packet import BoxesPart, EmptyPart, EncodedPart, Packet, Span

Exit = tuple[int, int]  # handler_id, output

KEEP_RESULTS, KEEP_SECONDS, KEEP_BYTES = 1000, 60.0, 64 << 20

_RANK = {"failed": 0, "dropped": 1, "ok": 2}  # of several exits' words on one frame the worst counts


class Picture(Struct, frozen=True):
    """An encoded picture."""

    media_type: str
    data: bytes


class Piece(Struct, frozen=True):
    """What one exit said of a frame; it holds no shared memory."""

    part: Any
    picture: Picture | None
    trace: list[Span]


class Result(Struct, frozen=True):
    """A frame's result; `encoded` is the JSON for clients, less the picture's bytes: made once, sent several times."""

    sequence: int
    status: FrameStatus
    broken: bool
    ended_by: int | None  # handler_id; None: the entry itself, or all exits spoke
    reason: str | None
    latency_ms: float
    encoded: bytes
    picture: Picture | None
    finished: float  # monotonic s

    def json(self) -> bytes:
        """Return the result as JSON."""
        return self.encoded

    @property
    def body(self) -> dict[str, Any]:
        """Return the same, decoded."""
        found: dict[str, Any] = msgspec.json.decode(self.encoded)
        return found

    @property
    def http_status(self) -> int:
        """200 ok, 422 the frame's own fault, 503 dropped, 500 a handler broke."""
        if self.status is FrameStatus.OK:
            return 200
        if self.status is FrameStatus.DROPPED:
            return 503
        return 500 if self.broken else 422

    @property
    def size(self) -> int:
        """Bytes that it holds, roughly."""
        return 500 + len(self.encoded) + (len(self.picture.data) if self.picture else 0)


def piece_of(packet: Packet) -> Piece:
    """Return *packet*'s payload copied out of shared memory."""
    part, picture = packet.header.payload, None
    if isinstance(part, EncodedPart):
        picture = Picture(part.media_type, bytes(packet.buffers[part.buffer]))
    return Piece(part, picture, packet.header.trace)


class Heading(Struct, frozen=True):
    """What a result says of its frame before any handler did."""

    session_id: int
    sequence: int
    epoch: int
    timestamp: float
    latency_ms: float
    finished: float  # monotonic s


def compose(heading: Heading, pieces: Iterable[Piece], picture_url: str) -> Result:
    """Return the result that *pieces*, one per exit, make together."""
    pieces = list(pieces)
    ends = [p.part for p in pieces if isinstance(p.part, EmptyPart)]
    end = min(ends, key=lambda e: _RANK[e.status], default=None)
    boxes = [box for p in pieces if isinstance(p.part, BoxesPart) for box in p.part.boxes]
    picture = next((p.picture for p in pieces if p.picture is not None), None)
    body = _head(heading, FrameStatus(end.status) if end else FrameStatus.OK, end)
    body["boxes"] = [msgspec.to_builtins(b) for b in boxes]
    if picture is not None:
        body["image"] = {"media_type": picture.media_type, "bytes": len(picture.data), "url": picture_url}
    spans = {(s.handler_id, s.node_id): s for p in pieces for s in p.trace}
    body["trace"] = [_span(s) for s in sorted(spans.values(), key=lambda s: s.start)]
    return _result(heading, body, broken=bool(end and end.broken), picture=picture)


def failure(heading: Heading, status: FrameStatus, reason: str, *, broken: bool = False) -> Result:
    """Return the result of a frame that no exit will report."""
    body = _head(heading, status, None) | {"reason": reason, "boxes": [], "trace": []}
    return _result(heading, body, broken=broken, picture=None)


def _result(heading: Heading, body: dict[str, Any], *, broken: bool, picture: Picture | None) -> Result:
    body["latency_ms"] = round(heading.latency_ms, 3)
    return Result(
        sequence=heading.sequence,
        status=FrameStatus(body["status"]),
        broken=broken,
        ended_by=body.get("ended_by"),
        reason=body.get("reason"),
        latency_ms=body["latency_ms"],
        encoded=msgspec.json.encode(body),
        picture=picture,
        finished=heading.finished,
    )


def _head(heading: Heading, status: FrameStatus, end: EmptyPart | None) -> dict[str, Any]:
    body: dict[str, Any] = {
        "session_id": heading.session_id,
        "sequence": heading.sequence,
        "epoch": heading.epoch,
        "timestamp": heading.timestamp,
        "status": status.value,
    }
    if end is not None:
        body["ended_by"] = end.ended_by
        if end.reason:
            body["reason"] = end.reason
    return body


def _span(span: Span) -> dict[str, Any]:
    return {
        "handler_id": span.handler_id,
        "node_id": span.node_id,
        "received": span.received,
        "start": span.start,
        "end": span.end,
        "bytes": span.size,
    }


class Kept:
    """Finished results in sequence order, for streams and for repeated posts; bounded in number, age and bytes."""

    def __init__(self) -> None:
        self._results: OrderedDict[int, Result] = OrderedDict()
        self._keys: dict[tuple[str, str], int] = {}
        self._key_of: dict[int, tuple[str, str]] = {}
        self._bytes = 0

    def add(self, result: Result, key: tuple[str, str] | None, now: float) -> None:
        """Keep *result*; *key* is the client's own name and number."""
        self._results[result.sequence] = result
        self._bytes += result.size
        if key is not None:
            self._keys[key] = result.sequence
            self._key_of[result.sequence] = key
        self._trim(now)

    def get(self, sequence: int) -> Result | None:
        """Return the result of *sequence*."""
        return self._results.get(sequence)

    def by_key(self, key: tuple[str, str]) -> Result | None:
        """Return the result of the frame that a client called *key*."""
        sequence = self._keys.get(key)
        return None if sequence is None else self._results.get(sequence)

    def after(self, sequence: int, limit: int) -> list[Result]:
        """Return up to *limit* results with a higher sequence than *sequence*, in order."""
        return sorted((r for s, r in self._results.items() if s > sequence), key=lambda r: r.sequence)[:limit]

    def _trim(self, now: float) -> None:
        while self._results:
            oldest = next(iter(self._results.values()))
            over = len(self._results) > KEEP_RESULTS or self._bytes > KEEP_BYTES
            if not over and now - oldest.finished <= KEEP_SECONDS:
                return
            del self._results[oldest.sequence]
            self._bytes -= oldest.size
            key = self._key_of.pop(oldest.sequence, None)
            if key is not None and self._keys.get(key) == oldest.sequence:
                del self._keys[key]
