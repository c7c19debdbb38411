"""The SQL of the docs runs as it stands: what makes a database by hand, and what reads the telemetry."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from tests.integration.mariadb import MariaDB
from wire import database as db
from wire.settings import DatabaseSettings
from wire.tables import metadata

DOCS = sorted((Path(__file__).resolve().parents[2] / "docs").glob("*.md"))
BLOCK = re.compile(r"^```sql\n(.*?)^```", re.MULTILINE | re.DOTALL)


def statements() -> Iterator[str]:
    for page in DOCS:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            yield from (one.strip() for one in block.split(";") if one.strip())


BY_HAND = [one for one in statements() if not one.startswith("SELECT")]
LOOKS = [one for one in statements() if one.startswith("SELECT")]


@pytest.fixture
def filled(database: DatabaseSettings) -> sqlalchemy.Engine:
    """A database with frame 7 of session 1 at two handlers on two nodes, and the link between these."""
    engine = db.connect(database)
    db.migrate(engine)
    key = {"session_id": 1, "sequence": 7}
    packets = [
        {**key, "timestamp": 1.8e9 + s, "handler_id": h, "node_id": h, "event": event, "size": size}
        for s, h, event, size in ((0.0, 1, "start", None), (0.02, 1, "end", None), (0.03, 2, "recv", 60000))
    ]
    link = {"timestamp": 1.8e9, "node_id": 1, "target_node_id": 2, "frames": 3, "bytes": 180000, "send_ms": 2.5}
    work = {"cpu_util": 50.0, "mem_util": 1.0, "queue_size": 0, "frames": 4, "service_ms": 20.0}
    process = {"timestamp": 1.8e9, "session_id": 1, "handler_id": 1, "node_id": 1, **work}
    with engine.begin() as connection:
        for table, rows in (("packet_info", packets), ("link_info", [link]), ("proc_info", [process])):
            connection.execute(metadata.tables[table].insert(), rows)
    return engine


@pytest.mark.parametrize("query", LOOKS, ids=range(len(LOOKS)))
def test_a_query_finds_what_is_there(filled: sqlalchemy.Engine, query: str) -> None:
    with filled.connect() as connection:
        rows = connection.execute(sqlalchemy.text(query)).mappings().all()
    assert rows
    figures = dict(rows[-1])
    assert figures.get("ms", figures.get("mean_ms")) in (pytest.approx(30, abs=0.01), pytest.approx(2.5), 20.0)


def test_a_database_made_by_hand_can_be_migrated_and_nothing_else(own_mariadb: MariaDB) -> None:
    assert len(BY_HAND) == 3
    own_mariadb.admin(*(one.replace("'10.0.0.%'", "'127.0.0.%'") for one in BY_HAND))
    (password,) = re.findall(r"IDENTIFIED BY '([^']+)'", " ".join(BY_HAND))
    settings = DatabaseSettings(
        db_engine="mysql",
        db_addr="127.0.0.1",
        db_port=own_mariadb.port,
        db_user="faceservice",
        db_passwd=password,
        db_schema="faceservice",
    )
    engine = db.connect(settings)
    assert db.migrate(engine) == [file.stem for file in db.migration_files()]
    db.check(engine)
    with engine.connect() as connection, pytest.raises(sqlalchemy.exc.OperationalError, match="denied"):
        connection.execute(sqlalchemy.text("CREATE TABLE mysql.mine (a INT)"))
