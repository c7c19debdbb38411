"""A frame's path, made of its rows of packet_info. Pure.

Each row bears the clock of the node that saw it: durations are taken on one node, never between two.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from wire.messages import PacketEvent

US = 1e6  # per s


class Seen(Struct, frozen=True, kw_only=True):
    """A row of packet_info of one frame."""

    timestamp: float  # s since the epoch, by the clock of that node
    handler_id: int
    node_id: int
    event: PacketEvent
    size: int | None  # bytes, of sent and recv


class Visit(Struct, frozen=True, kw_only=True):
    """A frame at a handler: times in s since the epoch by that node's clock, durations in ms; null where unknown.

    A frame that was sent again after a fault visits a handler more than once.
    """

    handler_id: int
    handler_name: str
    node_id: int
    received: float | None = None  # its first input
    start: float | None = None  # of execute
    end: float | None = None
    sent: float | None = None  # its last output
    bytes_in: int = 0
    bytes_out: int = 0
    wait_ms: float | None = None  # from received to start: in the queue, and for the other inputs of a join
    execute_ms: float | None = None
    send_ms: float | None = None  # from end to sent


class FrameTrace(Struct, frozen=True, kw_only=True):
    """Answer to GET /sessions/<id>/frames/<sequence>."""

    session_id: int
    sequence: int
    began: float  # s since the epoch: the first and the last thing that was seen, each by its node's clock
    ended: float
    duration_ms: float
    visits: list[Visit]  # by their first moment


def trace(session_id: int, sequence: int, rows: Iterable[Seen], names: Mapping[int, str]) -> FrameTrace | None:
    """Return the path of a frame whose handlers are called *names*; None when nothing was seen of it."""
    ordered = sorted(rows, key=lambda r: r.timestamp)
    if not ordered:
        return None
    places = dict.fromkeys((r.handler_id, r.node_id) for r in ordered)
    visits = [
        _visit(part, names.get(handler, f"handler {handler}"))
        for handler, node in places
        for part in _parts([r for r in ordered if (r.handler_id, r.node_id) == (handler, node)])
    ]
    began, ended = ordered[0].timestamp, ordered[-1].timestamp
    return FrameTrace(
        session_id=session_id,
        sequence=sequence,
        began=began,
        ended=ended,
        duration_ms=1000 * (ended - began),
        visits=sorted(visits, key=first),
    )


def first(visit: Visit) -> float:
    """Return the first moment of *visit*, s since the epoch."""
    return min(t for t in (visit.received, visit.start, visit.end, visit.sent) if t is not None)


def chrome(found: FrameTrace) -> dict[str, Any]:
    """Return *found* in the Trace Event Format, which chrome://tracing and ui.perfetto.dev show.

    A node is a process, a handler a thread of it; ts and dur are µs from the frame's beginning. Source: Duffy, *Trace
    Event Format* (Google, 2016), complete events "X" and metadata events "M".
    """
    events: list[dict[str, Any]] = []
    for node in sorted({v.node_id for v in found.visits}):
        events.append({"ph": "M", "name": "process_name", "pid": node, "tid": 0, "args": {"name": f"node {node}"}})
    for visit in found.visits:
        where = {"pid": visit.node_id, "tid": visit.handler_id}
        events.append({"ph": "M", "name": "thread_name", **where, "args": {"name": visit.handler_name}})
        spans = (
            ("wait", visit.received, visit.wait_ms, {"bytes_in": visit.bytes_in}),
            (visit.handler_name, visit.start, visit.execute_ms, {"sequence": found.sequence}),
            ("send", visit.end, visit.send_ms, {"bytes_out": visit.bytes_out}),
        )
        for name, since, ms, args in spans:
            if since is not None and ms is not None:
                times = {"ts": (since - found.began) * US, "dur": ms * 1000}
                events.append({"ph": "X", "cat": "frame", "name": name, **where, **times, "args": args})
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _parts(rows: Sequence[Seen]) -> list[list[Seen]]:
    """Split one handler's *rows* into visits; one that has begun to execute ends when something arrives or starts."""
    parts: list[list[Seen]] = [[]]
    for row in rows:
        begun = any(r.event == PacketEvent.START for r in parts[-1])
        if begun and row.event in (PacketEvent.RECV, PacketEvent.START):
            parts.append([])
        parts[-1].append(row)
    return parts


def _visit(rows: Sequence[Seen], name: str) -> Visit:
    times = {event: [r.timestamp for r in rows if r.event == event] for event in PacketEvent}
    received = min(times[PacketEvent.RECV], default=None)
    start, end = min(times[PacketEvent.START], default=None), max(times[PacketEvent.END], default=None)
    sent = max(times[PacketEvent.SENT], default=None)
    return Visit(
        handler_id=rows[0].handler_id,
        handler_name=name,
        node_id=rows[0].node_id,
        received=received,
        start=start,
        end=end,
        sent=sent,
        bytes_in=_bytes(rows, PacketEvent.RECV),
        bytes_out=_bytes(rows, PacketEvent.SENT),
        wait_ms=_ms(received, start),
        execute_ms=_ms(start, end),
        send_ms=_ms(end, sent),
    )


def _bytes(rows: Iterable[Seen], event: PacketEvent) -> int:
    return sum(r.size or 0 for r in rows if r.event == event)


def _ms(since: float | None, until: float | None) -> float | None:
    """Return the time between; a wall clock that was set back meanwhile makes it 0."""
    return None if since is None or until is None else max(0.0, 1000 * (until - since))
