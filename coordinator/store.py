"""The coordinator's SQL: sessions, their events, nodes and the leader row. Raises wire.database.DatabaseAway.

A placement is written only over the epoch it was made from, so of two writers one fails with StaleEpoch.
"""

import time
from itertools import islice
from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import Engine, bindparam, insert, select, update

from coordinator.history import History
from coordinator.records import Asked, Cordon, EventRecord, NodeRecord, Planned, SessionRecord
from coordinator.sessions import State
from coordinator.snapshot import Sampled
from wire import tables
from wire.database import away
from wire.messages import Heartbeat, SessionRequest

sessions, events, nodes, leader = tables.sessions, tables.session_events, tables.nodes, tables.leader

LEADER_ID = 1
_CLOCK = {  # the database's clock, s since the epoch
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "mysql": "UNIX_TIMESTAMP(NOW(6))",
    "mariadb": "UNIX_TIMESTAMP(NOW(6))",
}
_BEAT = (  # a heartbeat is written over an older one only; cordoning is not the agent's to change
    update(nodes)
    .where(nodes.c.node_id == bindparam("key"), nodes.c.last_seen < bindparam("last_seen"))
    .values({c: bindparam(c) for c in ("node_name", "boot_id", "control_url", "data_url", "heartbeat", "last_seen")})
)
_NEW_NODE = insert(nodes).prefix_with("IGNORE", dialect="mysql").prefix_with("OR IGNORE", dialect="sqlite")
_NEW_NODE = _NEW_NODE.prefix_with("IGNORE", dialect="mariadb")


class StaleEpoch(Exception):
    """Somebody else changed the session meanwhile."""


class Store:
    """All methods are one transaction each; the engine's pool makes them thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.history = History(engine)

    def ping(self) -> None:
        """Return when the database answers."""
        with away(self._engine), self._engine.connect() as connection:
            connection.execute(select(1))

    # --- sessions -------------------------------------------------------------------------------------

    def add_session(self, draft: SessionRecord) -> SessionRecord:
        """Insert *draft* and return it with the session_id that the database gave it."""
        values = _session_row(draft)
        del values["session_id"]
        with away(self._engine), self._engine.begin() as connection:
            key = connection.execute(insert(sessions).values(values)).inserted_primary_key
        return msgspec.structs.replace(draft, session_id=key[0] if key else 0)

    def session(self, session_id: int) -> SessionRecord | None:
        """Return the session, deleted ones too, or None."""
        with away(self._engine), self._engine.connect() as connection:
            row = connection.execute(select(sessions).where(sessions.c.session_id == session_id)).one_or_none()
        return None if row is None else _session(row)

    def sessions(
        self, states: list[State], after: int = 0, limit: int | None = None, owner: str | None = None
    ) -> list[SessionRecord]:
        """Return the sessions in *states* with an id above *after*, by id; those of *owner* alone, if one is named."""
        query = select(sessions).where(sessions.c.session_id > after, sessions.c.state.in_(states))
        query = query.order_by(sessions.c.session_id).limit(None if owner else limit)
        with away(self._engine), self._engine.connect() as connection:
            found = map(_session, connection.execute(query))
            return list(islice((s for s in found if owner in (None, s.owner)), limit))

    def write_session(self, session: SessionRecord, was: SessionRecord) -> None:
        """Write *session* over *was*. Raises StaleEpoch when the row is no longer at that epoch and state."""
        same = (
            (sessions.c.session_id == was.session_id)
            & (sessions.c.epoch == was.epoch)
            & (sessions.c.state == was.state)
        )
        with away(self._engine), self._engine.begin() as connection:
            done = connection.execute(update(sessions).where(same).values(_session_row(session)))
        if done.rowcount != 1:
            raise StaleEpoch(f"session {was.session_id} is no longer {was.state} at epoch {was.epoch}")

    # --- events ---------------------------------------------------------------------------------------

    def add_event(self, session_id: int, event: str, detail: dict[str, Any]) -> None:
        """Append to the session's history."""
        values = {"timestamp": time.time(), "session_id": session_id, "event": event, "detail": _json(detail)}
        with away(self._engine), self._engine.begin() as connection:
            connection.execute(insert(events).values(values))

    def events(self, session_id: int, after: int, limit: int) -> list[EventRecord]:
        """Return the session's events with an id above *after*, in order."""
        query = select(events).where(events.c.session_id == session_id, events.c.event_id > after)
        query = query.order_by(events.c.event_id).limit(limit)
        with away(self._engine), self._engine.connect() as connection:
            return list(map(_event, connection.execute(query)))

    def latest(self, session_id: int, event: str) -> list[EventRecord]:
        """Return the last 100 events of that name in the session's history, in order."""
        query = select(events).where(events.c.session_id == session_id, events.c.event == event)
        query = query.order_by(events.c.event_id.desc()).limit(100)
        with away(self._engine), self._engine.connect() as connection:
            return list(map(_event, reversed(connection.execute(query).all())))

    # --- nodes ----------------------------------------------------------------------------------------

    def nodes(self) -> list[NodeRecord]:
        """Return all nodes ever heard."""
        with away(self._engine), self._engine.connect() as connection:
            return [_node(row) for row in connection.execute(select(nodes))]

    def write_nodes(self, records: list[NodeRecord]) -> None:
        """Keep the latest heartbeats; never over a later one."""
        with away(self._engine), self._engine.begin() as connection:
            for record in records:
                values = _node_row(record)
                if connection.execute(_BEAT, values | {"key": record.node_id}).rowcount == 0:
                    connection.execute(
                        _NEW_NODE, values | {"node_id": record.node_id, "cordoned": int(record.cordoned)}
                    )

    def set_cordon(self, record: NodeRecord, cordon: Cordon) -> None:
        """Keep whether the node takes new handlers."""
        self.write_nodes([record])
        with away(self._engine), self._engine.begin() as connection:
            connection.execute(update(nodes).where(nodes.c.node_id == record.node_id).values(cordoned=int(cordon)))

    def samples(self, since: float) -> dict[int, Sampled]:
        """Return the latest row of sys_info of each node, of those after *since* (s since the epoch)."""
        info = tables.sys_info
        query = select(info.c.node_id, info.c.timestamp, info.c.cpu_util, info.c.mem_util, info.c.gpu_mem_util)
        query = query.where(info.c.timestamp > since).order_by(info.c.timestamp)
        with away(self._engine), self._engine.connect() as connection:
            return {
                row.node_id: Sampled(
                    timestamp=row.timestamp,
                    cpu_util=row.cpu_util,
                    mem_util=row.mem_util,
                    gpu_mem_util=row.gpu_mem_util,
                )
                for row in connection.execute(query)
            }

    # --- leader ---------------------------------------------------------------------------------------

    def lead(self, holder: str, lease_s: float) -> bool:
        """Take or renew the leader's lease for *holder*; return whether it holds it. By the database's clock."""
        now: sqlalchemy.ColumnElement[float] = sqlalchemy.literal_column(
            _CLOCK[self._engine.dialect.name], sqlalchemy.Double()
        )
        renew = update(leader).where(leader.c.id == LEADER_ID, leader.c.holder == holder)
        take = update(leader).where(leader.c.id == LEADER_ID, leader.c.lease_until < now)
        first = insert(leader).prefix_with("IGNORE", dialect="mysql").prefix_with("OR IGNORE", dialect="sqlite")
        first = first.prefix_with("IGNORE", dialect="mariadb")
        with away(self._engine), self._engine.begin() as connection:
            if connection.execute(renew.values(lease_until=now + lease_s)).rowcount == 1:
                return True
            values = {"holder": holder, "term": leader.c.term + 1, "lease_until": now + lease_s}
            if connection.execute(take.values(values)).rowcount == 1:
                return True
            row = {"id": LEADER_ID, "holder": holder, "term": 1, "lease_until": now + lease_s}
            return connection.execute(first.values(row)).rowcount == 1

    def resign(self, holder: str) -> None:
        """End *holder*'s lease, so that another need not wait for its end."""
        with away(self._engine), self._engine.begin() as connection:
            connection.execute(update(leader).where(leader.c.holder == holder).values(lease_until=0.0))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _session_row(session: SessionRecord) -> dict[str, Any]:
    row = msgspec.structs.asdict(session)
    return row | {"state": str(session.state), "request": _json(session.request), "plan": _json(session.plan)}


def _session(row: Any) -> SessionRecord:
    columns = row._asdict() | {
        "state": State(row.state),
        "request": _request(row.request),
        "plan": msgspec.json.decode(row.plan, type=Planned),
    }
    return SessionRecord(**columns)


def _event(row: Any) -> EventRecord:
    return EventRecord(**row._asdict() | {"detail": msgspec.json.decode(row.detail)})


def _request(text: str) -> SessionRequest:
    """Return what was asked; by whom too, where a client's token asked."""
    asked = msgspec.json.decode(text, type=Asked)
    if asked.owner is not None:
        return asked
    return SessionRequest(**{name: getattr(asked, name) for name in SessionRequest.__struct_fields__})


def _node_row(record: NodeRecord) -> dict[str, Any]:
    beat = record.heartbeat
    return {
        "node_name": beat.node_name,
        "boot_id": beat.boot_id,
        "control_url": beat.control_url,
        "data_url": beat.data_url,
        "heartbeat": _json(beat),
        "last_seen": record.last_seen,
    }


def _node(row: Any) -> NodeRecord:
    heartbeat = msgspec.json.decode(row.heartbeat, type=Heartbeat)
    return NodeRecord(node_id=row.node_id, heartbeat=heartbeat, last_seen=row.last_seen, cordoned=Cordon(row.cordoned))
