"""A live view in the terminal: nodes, sessions, and the latest events of one session."""

import time
from collections.abc import Iterable
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from client import tables
from client.coordinator import Coordinator
from client.errors import ClientError

PERIOD_S = 1.0
EVENTS = 8  # shown


def watch(coordinator: Coordinator, session_id: int | None, console: Console, rounds: int | None = None) -> None:
    """Show what is there each second, for ever or *rounds* times. Raises ClientError when it cannot begin.

    While the coordinator is away the last view stays, with the reason above it.
    """
    view = _view(coordinator, session_id)
    with Live(view, console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while rounds is None or rounds > 1:
            time.sleep(PERIOD_S)  # nothing to wait for: the coordinator is asked each second
            rounds = None if rounds is None else rounds - 1
            try:
                view = _view(coordinator, session_id)
                live.update(view, refresh=True)
            except ClientError as error:
                live.update(Group(Text(f"{error} - trying again", style="bold red"), view), refresh=True)


def _view(coordinator: Coordinator, session_id: int | None) -> Group:
    if session_id is None:
        documents = coordinator.get("/nodes"), coordinator.get("/sessions")
        parts = [*tables.nodes(documents[0]), "", *tables.sessions(documents[1])]
    else:
        session = coordinator.get(f"/sessions/{session_id}")
        events = coordinator.list_of(f"/sessions/{session_id}/events?limit=1000", "events")
        parts = list(one(session, events))
    clock = time.strftime("%H:%M:%S")
    return Group(Text(f"{coordinator.url}  {clock}  (Ctrl-C ends)", style="dim"), *parts)


def one(session: tables.Document, events: list[dict[str, Any]]) -> Iterable[RenderableType]:
    """Return a session's line, its handlers, its hops and its latest events. Pure."""
    measured = session.get("measured") or {}
    yield from tables.sessions({"sessions": [session]})
    yield ""
    handlers = [
        [h.get(name) for name in ("handler_id", "node_id", "state", "service_ms", "queue_size", "frames")]
        for h in measured.get("handlers", [])
    ]
    yield tables.table(("handler", "node", "state", "ms", "waiting", "frames"), handlers, "no handler has reported")
    yield ""
    names = ("source_handler", "target_handler", "from_node", "to_node", "latency_ms", "bytes_per_s")
    hops = [[h.get(name) for name in names] for h in measured.get("hops", [])]
    columns = ("from handler", "to handler", "from node", "to node", "latency ms", "bytes/s")
    yield tables.table(columns, hops, "no hops: all on one node")
    yield ""
    rows = [(tables.moment(e.get("timestamp")), e.get("event"), e.get("detail")) for e in events[-EVENTS:]]
    yield tables.table(("when (UTC)", "event", "detail"), rows, "no events")
