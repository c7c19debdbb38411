"""Single frames out of packet_info, on both engines."""

from sqlalchemy import text

from coordinator.frame_store import FrameStore
from wire import database as db
from wire.messages import PacketEvent
from wire.settings import DatabaseSettings
from wire.tables import packet_info


def test_a_frames_rows_and_the_latest_frames(database: DatabaseSettings) -> None:
    engine = db.connect(database)
    db.migrate(engine)
    rows = [
        {"timestamp": 100.0 + sequence + at, "session_id": session, "handler_id": 1, "sequence": sequence}
        | {"event": event, "node_id": 2, "size": 9}
        for session in (7, 8)
        for sequence in range(30)
        for at, event in ((0.0, "recv"), (0.001, "start"), (0.004, "end"))
    ]
    with engine.begin() as connection:
        connection.execute(packet_info.insert(), rows)
    frames = FrameStore(engine)
    assert sorted((r.event, r.handler_id, r.node_id) for r in frames.seen(7, 4)) == [
        (PacketEvent.END, 1, 2),
        (PacketEvent.RECV, 1, 2),
        (PacketEvent.START, 1, 2),
    ]
    assert frames.seen(7, 99) == []
    latest = frames.latest(8, 3)
    assert [(f.sequence, f.events, round(f.duration_ms, 3)) for f in latest] == [
        (29, 3, 4.0),
        (28, 3, 4.0),
        (27, 3, 4.0),
    ]


def test_a_frame_is_found_by_its_index(database: DatabaseSettings) -> None:
    """With a day of rows a look must not read the table."""
    engine = db.connect(database)
    db.migrate(engine)
    word = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    query = f"{word} SELECT timestamp FROM packet_info WHERE session_id = 7 AND sequence = 4"
    with engine.connect() as connection:
        assert "packet_info_by_frame" in str(connection.execute(text(query)).all())
