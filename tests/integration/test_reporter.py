"""The reporter against a real collector that comes, goes and refuses."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from node.processes.control import LinkStats
from node.reporting.reporter import ProcessSample, Reporter
from tests.daemons import start
from tests.integration.daemons import collector_config, running
from tests.integration.mariadb import free_port
from wire import database as db
from wire import tables
from wire.messages import PacketEvent, PacketInfo
from wire.settings import DatabaseSettings, ReporterSettings

PATIENCE_S = 20.0


@pytest.fixture
def sqlite(tmp_path: Path) -> DatabaseSettings:
    return DatabaseSettings(db_engine="sqlite", db_path=tmp_path / "db.sqlite")


def reporter(
    port: int, spool: Path, boot_id: str = "b-1", processes: Callable[[], list[ProcessSample]] = list
) -> Reporter:
    settings = ReporterSettings(
        collector_port=port, collect_info_period=0.1, send_report_period=0.2, spool_path=spool, spool_limit_mb=1
    )
    return Reporter(settings, 3, boot_id, None, processes)


def packets(first: int, number: int) -> list[PacketInfo]:
    return [
        PacketInfo(timestamp=1.8e9 + n / 1000, session_id=1, handler_id=2, sequence=n, event=PacketEvent.START)
        for n in range(first, first + number)
    ]


def sequences(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(select(tables.packet_info.c.sequence).order_by(tables.packet_info.c.sequence)))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.05)


def test_samples_and_events_reach_their_tables(sqlite: DatabaseSettings, tmp_path: Path) -> None:
    """cpu_util of a busy process is not 0: the second sample is compared with the first."""

    def processes() -> list[ProcessSample]:
        return [ProcessSample(1, 2, os.getpid(), 1, 4, 10.0)]

    with running(collector_config(tmp_path, sqlite)) as collector:
        active = reporter(int(collector.url.rpartition(":")[2]), tmp_path / "spool", processes=processes)
        active.start()
        active.packets(packets(0, 5000))
        active.links([LinkStats(4, 2, 1000, 3.0), LinkStats(4, 2, 1000, 5.0)])
        busy_until = time.monotonic() + 1.0
        while time.monotonic() < busy_until:
            sum(n * n for n in range(10_000))
        active.ended([ProcessSample(1, 9, None, 0, 2, 6.0)])
        active.stop()
        with db.connect(sqlite).connect() as connection:
            link = connection.execute(select(tables.link_info)).one()
            rows = connection.execute(select(tables.proc_info)).all()
            system = connection.execute(select(tables.sys_info)).all()
            ids = connection.scalars(select(tables.reports.c.report_id)).all()
        assert tuple(link)[1:] == (3, 4, 4, 2000, 2.0)
        assert sequences(db.connect(sqlite)) == list(range(5000))
    process = [row for row in rows if row.handler_id == 2]
    assert [(row.frames, row.service_ms) for row in rows if row.handler_id == 9] == [(2, 3.0)]
    assert max(row.cpu_util for row in process[1:]) > 20
    assert {(row.frames, row.service_ms) for row in process} == {(4, 2.5)}
    assert len(system) >= 5
    assert sorted(ids) == list(range(1, len(ids) + 1))
    assert list((tmp_path / "spool" / "3").glob("*.json")) == []


def test_reports_wait_while_the_collector_is_away_and_arrive_once(sqlite: DatabaseSettings, tmp_path: Path) -> None:
    """The collector is killed in mid-stream, the agent too; a new agent brings what the first one left."""
    engine = db.connect(sqlite)
    port, spool = free_port(), tmp_path / "spool"
    first = reporter(port, spool)
    first.start()
    first.packets(packets(0, 100))  # nobody listens yet
    collector = start(collector_config(tmp_path, sqlite, port=port), tmp_path).wait_ready()
    wait_for(lambda: len(sequences(engine)) == 100)
    collector.kill()
    first.packets(packets(100, 100))
    began = time.monotonic()
    first.stop()
    assert time.monotonic() - began < 3
    assert list((spool / "3").glob("*.json"))
    second = reporter(port, spool, boot_id="b-2")
    second.start()
    second.packets(packets(200, 100))
    with running(collector_config(tmp_path, sqlite, port=port)):
        wait_for(lambda: len(sequences(engine)) == 300)
        second.stop()
    assert sequences(engine) == list(range(300))
    with engine.connect() as connection:
        rows = connection.execute(
            select(tables.reports.c.boot_id, func.count()).group_by(tables.reports.c.boot_id)
        ).all()
    assert {row[0] for row in rows} == {"b-1", "b-2"}
    assert list((spool / "3").glob("*.json")) == []


def test_a_refused_report_is_set_aside_and_the_next_ones_go_on(sqlite: DatabaseSettings, tmp_path: Path) -> None:
    """What the collector cannot take must not stand in the way of the rest."""
    folder = tmp_path / "spool" / "3"
    folder.mkdir(parents=True)
    (folder / "0000000000000001.json").write_text('{"node_id": 3, "boot_id": "old", "report_id": 1, "color": 1}')
    (folder / "0000000000000002.tmp").write_text("half a rep")
    with running(collector_config(tmp_path, sqlite)) as collector:
        active = reporter(int(collector.url.rpartition(":")[2]), tmp_path / "spool")
        active.start()
        active.packets(packets(0, 10))
        wait_for(lambda: len(sequences(db.connect(sqlite))) == 10)
        active.stop()
    assert [f.name for f in (folder / "aside").iterdir()] == ["0000000000000001.json"]
    assert [f.name for f in folder.iterdir()] == ["aside"]


def test_a_reporter_that_is_off_still_knows_load_and_hardware(tmp_path: Path) -> None:
    off = Reporter(ReporterSettings(enabled=False, spool_path=tmp_path / "spool"), 1, "b", None, list)
    off.start()
    off.packets(packets(0, 10))
    assert off.hardware().cpus >= 1
    assert 0 <= off.load().cpu_util <= 100
    off.stop()
    assert not (tmp_path / "spool").exists()
