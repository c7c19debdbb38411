"""Reports and a database, a collector or a disk that fails: nothing acknowledged is lost, nothing comes twice."""

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pymysql
import pytest
import requests
from sqlalchemy import Engine, select

from collector.store import Store
from node.transport.sender import Sender
from tests.daemons import Daemon
from tests.e2e.live_session import wait_for
from tests.integration.daemons import collector_config, running
from tests.integration.mariadb import PASSWORD, USER, MariaDB, free_port, mysql_settings, new_folder
from wire import database as db
from wire import tables
from wire.messages import PacketEvent, PacketInfo, ProcInfo, Report, SysInfo
from wire.settings import DatabaseSettings, ReporterSettings

HOUR = 720  # reports of a node that reports each 5 s
AT = 1.8e9
SYSTEM_ROW = "INSERT INTO sys_info (timestamp, node_id, cpu_util, mem_total, mem_util) VALUES (%s, %s, %s, %s, %s)"
PROCESS_ROW = (
    "INSERT INTO proc_info (timestamp, session_id, handler_id, node_id, cpu_util, mem_util, queue_size, frames) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
)
JSON = {"Content-Type": "application/json"}


def report(number: int, node_id: int = 1, packets: int = 3) -> Report:
    """Return a report whose rows are its own."""
    at = AT + number
    return Report(
        node_id=node_id,
        boot_id="b",
        report_id=number,
        sys_info=[SysInfo(timestamp=at, cpu_util=1.0, mem_total=2000, mem_util=3.0)],
        proc_info=[ProcInfo(timestamp=at, session_id=1, handler_id=2, cpu_util=9.0, mem_util=1.0)],
        packet_info=[
            PacketInfo(timestamp=at, session_id=1, handler_id=2, sequence=n, event=PacketEvent.END)
            for n in range(packets)
        ],
        link_info=[],
        gpu_info=[],
    )


def sender(port: int, spool: Path, node_id: int = 1, limit_mb: int = 64) -> Sender:
    settings = ReporterSettings(collector_port=port, spool_path=spool, spool_limit_mb=limit_mb)
    made = Sender(settings, node_id, None)
    made.start()
    return made


@pytest.fixture
def settings(mariadb: MariaDB) -> DatabaseSettings:
    return migrated(mariadb)


def migrated(server: MariaDB) -> DatabaseSettings:
    made = mysql_settings(server, server.new_schema())
    engine = db.connect(made)
    db.migrate(engine)
    engine.dispose()
    return made


@pytest.fixture
def engine(settings: DatabaseSettings) -> Iterator[Engine]:
    made = db.connect(settings)
    yield made
    made.dispose()


def arrived(engine: Engine, node_id: int = 1) -> list[int]:
    """Return the reports of a node in the order in which they came."""
    c = tables.reports.c
    with engine.connect() as connection:
        query = select(c.report_id).where(c.node_id == node_id).order_by(c.received, c.report_id)
        return list(connection.scalars(query))


def packets(engine: Engine) -> list[tuple[float, int, int]]:
    c = tables.packet_info.c
    with engine.connect() as connection:
        rows = connection.execute(
            select(c.timestamp, c.node_id, c.sequence).order_by(c.node_id, c.timestamp, c.sequence)
        )
        return [(float(t), int(n), int(s)) for t, n, s in rows]


def test_an_hour_of_reports_arrives_in_order_and_once(
    settings: DatabaseSettings, engine: Engine, tmp_path: Path
) -> None:
    port = free_port()
    active = sender(port, tmp_path / "spool")
    for number in range(1, HOUR + 1):
        active.put(report(number))
    assert len(list((tmp_path / "spool/1").glob("*.json"))) == HOUR
    with running(collector_config(tmp_path, settings, port=port)):
        wait_for(lambda: len(arrived(engine)) == HOUR, "all to arrive", lambda: len(arrived(engine)), 60)
        active.stop(5)
    assert arrived(engine) == list(range(1, HOUR + 1)), "in order"
    assert packets(engine) == [(AT + r, 1, n) for r in range(1, HOUR + 1) for n in range(3)]
    assert active.dropped == 0
    assert not list((tmp_path / "spool/1").glob("*.json"))


def test_over_the_limit_the_oldest_are_dropped_and_counted(
    settings: DatabaseSettings, engine: Engine, tmp_path: Path
) -> None:
    port, number = free_port(), 40
    active = sender(port, tmp_path / "spool", limit_mb=1)
    for report_id in range(1, number + 1):
        active.put(report(report_id, packets=600))
    files = list((tmp_path / "spool/1").glob("*.json"))
    assert sum(f.stat().st_size for f in files) <= 1 << 20
    assert active.dropped == number - len(files) > 0
    with running(collector_config(tmp_path, settings, port=port)):
        wait_for(lambda: len(arrived(engine)) == len(files), "the rest to arrive", lambda: arrived(engine), 60)
        active.stop(5)
    assert arrived(engine) == list(range(active.dropped + 1, number + 1)), "the newest, in order"


def test_a_database_killed_in_mid_transaction_loses_and_doubles_nothing(own_mariadb: MariaDB, tmp_path: Path) -> None:
    nodes, each = (1, 2, 3), 60
    settings = migrated(own_mariadb)
    engine = db.connect(settings)
    with running(collector_config(tmp_path, settings)) as collector:
        port = int(collector.url.rpartition(":")[2])
        active = [sender(port, tmp_path / "spool", n) for n in nodes]
        for half in (range(1, each // 2 + 1), range(each // 2 + 1, each + 1)):
            for number in half:
                for node_id, one in zip(nodes, active, strict=True):
                    one.put(report(number, node_id, packets=400))
            wait_for(lambda: busy(own_mariadb), "a transaction to be open", patience_s=30)
            own_mariadb.kill()
            own_mariadb.start()
        for node_id in nodes:
            wait_for(lambda n=node_id: len(arrived(engine, n)) == each, "all to arrive", patience_s=60)  # type: ignore[misc]
        for one in active:
            one.stop(5)
    for node_id in nodes:
        assert arrived(engine, node_id) == list(range(1, each + 1))
    assert packets(engine) == [(AT + r, n, s) for n in nodes for r in range(1, each + 1) for s in range(400)]
    engine.dispose()


def busy(server: MariaDB) -> bool:
    """Return True while a transaction has written something and is not committed."""
    return bool(server.ask("SELECT 1 FROM information_schema.INNODB_TRX WHERE trx_rows_modified > 0"))


def test_a_transaction_that_loses_a_deadlock_is_written_again(
    mariadb: MariaDB, settings: DatabaseSettings, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """Another transaction has the report's process row, and asks for its system row, which the store has."""
    caplog.set_level("INFO")
    store = Store(engine)
    store.start()
    other = pymysql.connect(
        host="127.0.0.1", port=mariadb.port, user=USER, password=PASSWORD, database=settings.db_schema
    )
    told: list[BaseException] = []

    def add() -> None:
        try:
            store.add(report(1))
        except Exception as error:  # noqa: BLE001 - told below
            told.append(error)

    with other, other.cursor() as cursor:
        for number in range(200, 300):  # the one that has written more is not the victim
            cursor.execute(SYSTEM_ROW, (AT + number, 1, 1, 1, 1))
        cursor.execute(
            PROCESS_ROW,
            (AT + 1, 1, 2, 1, 1, 1, 0, 0),
        )
        thread = threading.Thread(target=add)
        thread.start()
        wait_for(
            lambda: mariadb.ask("SELECT 1 FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'"), "a wait"
        )
        cursor.execute(SYSTEM_ROW, (AT + 1, 1, 1, 1, 1))
        other.rollback()
    thread.join(20)
    store.stop()
    assert told == []
    assert "Deadlock found" in caplog.text
    assert arrived(engine) == [1]
    assert len(packets(engine)) == 3


def test_a_full_or_read_only_database_refuses_no_report(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    server = MariaDB(
        new_folder(tmp_path_factory),
        "--innodb-file-per-table=0",
        "--innodb-data-file-path=ibdata1:12M:autoextend:max:24M",
    )
    try:
        settings = migrated(server)
        server.admin(f"CREATE TABLE {settings.db_schema}.filler (id INT AUTO_INCREMENT PRIMARY KEY, data CHAR(250))")
        with running(collector_config(tmp_path, settings)) as collector:
            assert send(collector, 1) == 200
            fill(server, settings.db_schema)
            assert send(collector, 2) == 503
            server.admin(f"DROP TABLE {settings.db_schema}.filler", "SET GLOBAL read_only = 1")
            assert send(collector, 2) == 503
            server.admin("SET GLOBAL read_only = 0")
            wait_for(lambda: send(collector, 2) == 200, "room to be there again", patience_s=30)
    finally:
        server.kill()


def send(collector: Daemon, number: int) -> int:
    """Post a report of many rows and return the answer's status."""
    body = msgspec.json.encode(report(number, packets=20_000))
    return requests.post(f"{collector.url}/reports", data=body, headers=JSON, timeout=40).status_code


def fill(server: MariaDB, schema: str) -> None:
    """Take all room of the server's only file."""
    for rows in (4096, 64, 1):
        with pytest.raises(pymysql.Error, match="is full"):
            while True:
                server.admin(
                    f"INSERT INTO {schema}.filler (data) SELECT REPEAT('x', 250) FROM {schema}.seq_1_to_{rows}"
                )
