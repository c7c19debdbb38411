"""A frame's path as a waterfall of text. Pure: GET /sessions/<id>/frames/<sequence> in, rich renderables out."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from client.tables import Document, table

WIDTH = 48  # characters of the time line
PARTS = (("wait", "░", "received", "start"), ("work", "█", "start", "end"), ("send", "▒", "end", "sent"))


def waterfall(document: Document) -> Iterable[RenderableType]:
    """Show every visit to a handler: what it cost, and when it was."""
    visits = document.get("visits", [])
    nodes = len({v.get("node_id") for v in visits})
    yield (
        f"frame {document.get('sequence')} of session {document.get('session_id')}: "
        f"{_ms(document.get('duration_ms'))} ms over {nodes} node{'s' * (nodes != 1)}"
    )
    rows = [
        (
            f"{v.get('handler_id')} {v.get('handler_name')}",
            v.get("node_id"),
            *(_ms(v.get(name)) for name in ("wait_ms", "execute_ms", "send_ms")),
            size(v.get("bytes_in")),
            size(v.get("bytes_out")),
            bar(v, document),
        )
        for v in visits
    ]
    columns = ("handler", "node", "wait ms", "work ms", "send ms", "in", "out", "when")
    yield table(columns, rows, "nothing was reported of it")
    yield Text("░ waits  █ works  ▒ sends; each node's moments are by its own clock", style="dim")


def bar(visit: Mapping[str, Any], document: Document) -> str:
    """Return the visit's place on a time line of WIDTH characters; each part is at least one wide."""
    began, whole = float(document["began"]), max(float(document["ended"]) - float(document["began"]), 1e-9)
    line = [" "] * WIDTH
    for _, mark, since, until in PARTS:
        start, end = visit.get(since), visit.get(until)
        if start is not None and end is not None:
            first = min(WIDTH - 1, int(WIDTH * (start - began) / whole))
            last = min(WIDTH, max(first + 1, round(WIDTH * (end - began) / whole)))
            line[first:last] = mark * (last - first)
    return "".join(line).rstrip()


def frames(document: Document) -> Iterable[RenderableType]:
    """GET /sessions/<id>/frames"""
    rows = [(f.get("sequence"), _ms(f.get("duration_ms")), f.get("events")) for f in document.get("frames", [])]
    empty = "no frame was reported yet: reports come every few seconds while frames flow"
    yield table(("frame", "ms", "events"), rows, empty)


def size(number: int | None) -> str:
    """Return bytes for people: powers of 1000."""
    if number is None:
        return "-"
    for unit, scale in (("MB", 1_000_000), ("kB", 1000)):
        if number >= scale:
            return f"{number / scale:.1f} {unit}"
    return f"{number} B"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
