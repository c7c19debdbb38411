"""Old rows leave in batches; young ones stay."""

from sqlalchemy import func, select

from collector.retention import clean
from wire import database as db
from wire.settings import DatabaseSettings
from wire.tables import packet_info, reports


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
