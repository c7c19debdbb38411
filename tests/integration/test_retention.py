"""Old rows leave in batches; young ones stay."""

from sqlalchemy import func, select

from collector.retention import clean
from wire import database as db
from wire.settings import DatabaseSettings
from wire.tables import packet_info, reports, session_events, sessions


def test_old_rows_leave_in_batches_and_young_ones_stay(database: DatabaseSettings) -> None:
    engine = db.connect(database)
    db.migrate(engine)
    rows = [
        {"timestamp": float(n), "session_id": 1, "handler_id": 1, "sequence": n, "event": "end", "node_id": 1}
        for n in range(100)
    ]
    with engine.begin() as connection:
        connection.execute(packet_info.insert(), rows)
        connection.execute(
            reports.insert(), [{"node_id": 1, "boot_id": "b", "report_id": n, "received": n} for n in (1, 99)]
        )
    assert list(clean(engine, packet_info, 65.0, batch_rows=30)) == [30, 30, 5]
    assert list(clean(engine, packet_info, 65.0, batch_rows=30)) == [0]
    assert sum(clean(engine, reports, 50.0)) == 1
    with engine.connect() as connection:
        left = connection.execute(
            select(func.count(), func.min(packet_info.c.timestamp)).select_from(packet_info)
        ).one()
    assert tuple(left) == (35, 65.0)


def test_sessions_that_were_deleted_long_ago_leave_and_others_stay(database: DatabaseSettings) -> None:
    """With their history; of a living session only the old part of its history goes."""
    engine = db.connect(database)
    db.migrate(engine)
    columns = {"service": "s", "variant": "v", "epoch": 1, "accept_from": 1, "request": "{}", "plan": "{}"}
    kept = [(1, "deleted", 10.0), (2, "deleted", 90.0), (3, "running", 10.0), (4, "failed", 10.0)]
    rows = [
        columns | {"session_id": n, "session_key": f"k{n}", "state": state, "created": 1.0, "updated": updated}
        for n, state, updated in kept
    ]
    events = [
        {"timestamp": at, "session_id": n, "event": "placed", "detail": "{}"}
        for n, at in ((1, 9.0), (3, 9.0), (3, 91.0), (2, 90.0))
    ]
    with engine.begin() as connection:
        connection.execute(sessions.insert(), rows)
        connection.execute(session_events.insert(), events)
    assert list(clean(engine, sessions, 50.0, batch_rows=1)) == [1, 0]
    assert sum(clean(engine, session_events, 50.0)) == 2
    with engine.connect() as connection:
        assert sorted(connection.scalars(select(sessions.c.session_id))) == [2, 3, 4]
        left = select(session_events.c.session_id, session_events.c.timestamp).order_by(session_events.c.session_id)
        assert [tuple(row) for row in connection.execute(left)] == [(2, 90.0), (3, 91.0)]
