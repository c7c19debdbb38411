"""What the telemetry tables know of service times and links: two bounded queries, kept for a few seconds.

proc_info names session and handler; the graph of the session says which work that was. Old rows count less.
"""

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement, Engine, Select, case, func, select

from coordinator.allocation.base import LinkView, Measured, work
from coordinator.allocation.link_fit import LinkSums, fit
from coordinator.records import SessionRecord
from coordinator.snapshot import Known, Times
from wire import tables
from wire.database import away
from wire.messages import Graph, HandlerSpec

WINDOW_S, RECENT_S = 600.0, 30.0
OLD = 0.1  # a frame that is not recent counts so much
ROWS = 50_000  # the latest; each query reads no more
KEPT_S = 5.0  # reports come no faster
GRAPHS = 1000  # of ended sessions, kept to know what their rows measured

SessionGraphs = Mapping[int, Mapping[int, HandlerSpec]]


class History:
    """Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._graphs: OrderedDict[int, Mapping[int, HandlerSpec]] = OrderedDict()
        self._known, self._read = Known(), float("-inf")

    def known(self, sessions: Iterable[SessionRecord], now: float) -> Known:
        """Return what is known at *now* (s since the epoch), up to 5 s old. Raises DatabaseAway."""
        with self._lock:
            for session in sessions:
                self._remember(session.session_id, session.plan.graph)
            if not 0 <= now - self._read < KEPT_S:
                with away(self._engine), self._engine.connect() as connection:
                    times = connection.execute(_times_query(now)).all()
                    links = connection.execute(_links_query(now)).all()
                self._known, self._read = Known(times=_times(times, self._graphs), links=_links(links)), now
            return self._known

    def _remember(self, session_id: int, graph: Graph) -> None:
        self._graphs[session_id] = {h.handler_id: h for h in graph.handlers}
        self._graphs.move_to_end(session_id)
        while len(self._graphs) > GRAPHS:
            self._graphs.popitem(last=False)


def _times(rows: Iterable[Any], graphs: SessionGraphs) -> Times:
    sums: dict[Any, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in rows:
        handler = graphs.get(row.session_id, {}).get(row.handler_id)
        if handler is not None:
            total = sums[work(handler), row.node_id]
            total[0] += row.weight
            total[1] += row.total
    return {key: Measured(ms=total / frames, frames=frames) for key, (frames, total) in sums.items() if frames > 0}


def _links(rows: Iterable[Any]) -> dict[tuple[int, int], LinkView]:
    found = {}
    for row in rows:
        *sums, source, target = row
        link = fit(LinkSums(**dict(zip(LinkSums.__struct_fields__, map(float, sums), strict=True))))
        if link is not None:
            found[source, target] = link
    return found


def _times_query(now: float) -> Select[Any]:
    info = tables.proc_info
    rows = select(info).where(info.c.timestamp > now - WINDOW_S, info.c.frames > 0, info.c.service_ms.is_not(None))
    latest = rows.order_by(info.c.timestamp.desc()).limit(ROWS).subquery()
    frames = _weight(latest.c.timestamp, now) * latest.c.frames
    keys = (latest.c.session_id, latest.c.handler_id, latest.c.node_id)
    sums = (func.sum(frames).label("weight"), func.sum(frames * latest.c.service_ms).label("total"))
    return select(*keys, *sums).group_by(*keys)


def _links_query(now: float) -> Select[Any]:
    info = tables.link_info
    rows = select(info).where(info.c.timestamp > now - WINDOW_S, info.c.frames > 0)
    latest = rows.order_by(info.c.timestamp.desc()).limit(ROWS).subquery()
    frames = _weight(latest.c.timestamp, now) * latest.c.frames
    size = sqlalchemy.cast(latest.c.bytes, sqlalchemy.Double()) / latest.c.frames
    ms = latest.c.send_ms
    sums = (frames, frames * size, frames * ms, frames * size * size, frames * size * ms)
    keys = (latest.c.node_id, latest.c.target_node_id)
    columns: list[ColumnElement[Any]] = [*(func.sum(s) for s in sums), *keys]
    return select(*columns).group_by(*keys)


def _weight(timestamp: ColumnElement[float], now: float) -> ColumnElement[float]:
    return case((timestamp > now - RECENT_S, 1.0), else_=OLD)
