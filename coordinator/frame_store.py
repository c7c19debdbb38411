"""The SQL of single frames: what packet_info has of them. Raises wire.database.DatabaseAway."""

from msgspec import Struct
from sqlalchemy import Engine, func, select

from coordinator.traces import Seen
from wire.database import away
from wire.messages import PacketEvent
from wire.tables import packet_info

MAX_ROWS = 10_000  # of one frame: handlers, events and re-sends
LATEST_ROWS = 20_000  # looked at for the latest frames, so that the query stays short


class FrameSummary(Struct, frozen=True, kw_only=True):
    """A frame of which something was reported."""

    sequence: int
    began: float  # s since the epoch
    duration_ms: float
    events: int


class FrameStore:
    """One query each; safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def seen(self, session_id: int, sequence: int) -> list[Seen]:
        """Return the rows of a frame."""
        c = packet_info.c
        query = select(c.timestamp, c.handler_id, c.node_id, c.event, c.size)
        query = query.where(c.session_id == session_id, c.sequence == sequence).limit(MAX_ROWS)
        with away(self._engine), self._engine.connect() as connection:
            return [
                Seen(
                    timestamp=r.timestamp,
                    handler_id=r.handler_id,
                    node_id=r.node_id,
                    event=PacketEvent(r.event),
                    size=r.size,
                )
                for r in connection.execute(query)
            ]

    def latest(self, session_id: int, limit: int) -> list[FrameSummary]:
        """Return the latest frames of a session, newest first."""
        c = packet_info.c
        rows = select(c.sequence, c.timestamp).where(c.session_id == session_id)
        newest = rows.order_by(c.sequence.desc()).limit(LATEST_ROWS).subquery()
        times = (func.min(newest.c.timestamp).label("began"), func.max(newest.c.timestamp).label("ended"))
        query = select(newest.c.sequence, *times, func.count().label("events")).group_by(newest.c.sequence)
        query = query.order_by(newest.c.sequence.desc()).limit(limit)
        with away(self._engine), self._engine.connect() as connection:
            return [
                FrameSummary(
                    sequence=r.sequence, began=r.began, duration_ms=1000 * (r.ended - r.began), events=r.events
                )
                for r in connection.execute(query)
            ]
