"""The collector over real HTTP, on both engines."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import Engine, func, select

from collector.rows import COLUMNS
from tests.daemons import Daemon
from tests.integration.daemons import collector_config, refused, running
from tests.integration.mariadb import MariaDB, mysql_settings
from wire import database as db
from wire import tables
from wire.settings import DatabaseSettings

OLDER: dict[str, list[dict[str, Any]]] = {
    "sys_info": [
        {
            "timestamp": 1700000000.25,
            "cpu_util": 12.5,
            "mem_total": 24000,
            "mem_util": 31.0,
            "gpu_info": [
                {"gpu_id": 0, "gpu_power": 61, "gpu_util": 40, "gpu_mem_util": 12, "gpu_clock": 1350},
                {"gpu_id": 1, "gpu_power": 39, "gpu_util": 60, "gpu_mem_util": 14, "gpu_clock": 1450},
            ],
        }
    ],
    "proc_info": [
        {
            "timestamp": 1700000000.26,
            "session_id": 5,
            "handler_id": 0,
            "cpu_util": 55.0,
            "mem_util": 1.5,
            "gpu_info": [],
        }
    ],
    "packet_info": [
        {"timestamp": 1700000000.27, "session_id": 5, "handler_id": 0, "sequence": 17, "event": "start"},
        {"timestamp": 1700000000.30, "session_id": 5, "handler_id": 0, "sequence": 17, "event": "send", "size": 60211},
        {
            "timestamp": 1700000000.31,
            "session_id": 5,
            "handler_id": 1,
            "sequence": 17,
            "event": "receive",
            "size": 60211,
        },
    ],
}


def report(report_id: int, *, node_id: int = 1, packets: int = 20) -> dict[str, Any]:
    """Return a report with rows in every table; rows of different reports have different keys."""
    at = 1.8e9 + report_id
    return {
        "node_id": node_id,
        "boot_id": "b-1",
        "report_id": report_id,
        "sys_info": [{"timestamp": at, "cpu_util": 1.5, "mem_total": 2000, "mem_util": 3.0}],
        "proc_info": [{"timestamp": at, "session_id": 1, "handler_id": 2, "cpu_util": 99.0, "mem_util": 1.0}],
        "packet_info": [
            {"timestamp": at + n / 1000, "session_id": 1, "handler_id": 2, "sequence": n, "event": "sent", "size": 9}
            for n in range(packets)
        ],
        "link_info": [{"timestamp": at, "target_node_id": 2, "frames": 3, "bytes": 2**40, "send_ms": 0.5}],
        "gpu_info": [{"timestamp": at, "gpu_id": 0, "gpu_util": 1, "gpu_mem_util": 2, "gpu_clock": 3, "gpu_power": 4}],
    }


def send(url: str, body: dict[str, Any]) -> requests.Response:
    return requests.post(f"{url}/reports", json=body, timeout=20)


def counts(engine: Engine) -> dict[str, int]:
    """Return the number of rows of each telemetry table, and of reports."""
    with engine.connect() as connection:
        found = {}
        for name in (*COLUMNS, "reports"):
            found[name] = connection.scalar(select(func.count()).select_from(tables.metadata.tables[name])) or 0
        return found


@pytest.fixture
def engine(database: DatabaseSettings) -> Iterator[Engine]:
    """The migrated database of this test."""
    made = db.connect(database)
    db.migrate(made)
    yield made
    made.dispose()


@pytest.fixture
def collector(engine: Engine, database: DatabaseSettings, tmp_path: Path) -> Iterator[Daemon]:
    with running(collector_config(tmp_path, database)) as daemon:
        yield daemon


def test_a_report_is_stored_once_however_often_it_comes(collector: Daemon, engine: Engine) -> None:
    for _ in range(3):
        assert send(collector.url, report(1)).status_code == 200
    assert counts(engine) == {
        "sys_info": 1, "gpu_info": 1, "proc_info": 1, "packet_info": 20, "link_info": 1, "reports": 1,
    }  # fmt: skip
    with engine.connect() as connection:
        link = connection.execute(select(tables.link_info)).one()
        packet = connection.execute(select(tables.packet_info).where(tables.packet_info.c.sequence == 19)).one()
    assert tuple(link) == (1.8e9 + 1, 1, 2, 3, 2**40, 0.5)
    assert tuple(packet) == (1.8e9 + 1 + 0.019, 1, 2, 19, "sent", 1, 9)


BAD_VALUES: list[tuple[str, int, str, object]] = [
    ("packet_info", 1, "event", "send"),
    ("packet_info", 19, "size", 2**31),
    ("proc_info", 0, "cpu_util", "many"),
    ("sys_info", 0, "gpu_util", 2**40),
    ("link_info", 0, "bytes", -1),
]


def test_one_bad_row_is_named_and_nothing_of_its_report_is_written(collector: Daemon, engine: Engine) -> None:
    for table, row, key, value in BAD_VALUES:
        bad = report(1)
        bad[table][row][key] = value
        answer = send(collector.url, bad)
        assert (answer.status_code, answer.json()["pointer"]) == (422, f"/{table}/{row}/{key}")
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert set(counts(engine).values()) == {0}
    assert send(collector.url, report(1)).status_code == 200  # its identity is not used up


def test_bad_json_and_a_huge_body_are_refused(collector: Daemon) -> None:
    assert requests.post(f"{collector.url}/reports", data=b'{"node_id": 1,', timeout=20).status_code == 400
    assert requests.post(f"{collector.url}/reports", data=b" " * (17 << 20), timeout=20).status_code == 413


def test_many_reporters_at_once_lose_and_double_nothing(collector: Daemon, engine: Engine) -> None:
    """Each report is sent twice, at the same time, by different connections to either worker process."""
    statuses: list[int] = []

    def reporter(node_id: int) -> None:
        statuses.extend(send(collector.url, report(n, node_id=node_id, packets=50)).status_code for n in range(10))

    threads = [threading.Thread(target=reporter, args=(node_id,)) for node_id in (1, 2, 3, 4) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 80
    assert counts(engine)["reports"] == 40
    assert counts(engine)["packet_info"] == 40 * 50


def test_two_collectors_share_a_database(
    collector: Daemon, engine: Engine, database: DatabaseSettings, tmp_path: Path
) -> None:
    folder = tmp_path / "second"
    folder.mkdir()
    with running(collector_config(folder, database)) as second:
        for n in range(5):
            assert send(collector.url, report(n)).status_code == 200
            assert send(second.url, report(n)).status_code == 200
    assert counts(engine)["reports"] == 5
    assert counts(engine)["packet_info"] == 100


def test_the_older_form_is_taken_and_answered_in_its_own_way(collector: Daemon, engine: Engine) -> None:
    for _ in range(2):  # it carries no identity: the keys of its rows make the second harmless
        answer = requests.post(f"{collector.url}/", data=json.dumps(OLDER), timeout=20)  # the text, as it does
        assert (answer.status_code, answer.json()) == (200, {"result": "Succeeded"})
    without_gpu = {"sys_info": [OLDER["sys_info"][0] | {"timestamp": 1700000005.25, "gpu_info": []}]}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = requests.post(f"{collector.url}/", data=json.dumps(without_gpu), headers=form, timeout=20)
    assert answer.json() == {"result": "Succeeded"}
    with engine.connect() as connection:
        system, later = connection.execute(select(tables.sys_info).order_by(tables.sys_info.c.timestamp)).all()
        gpus = connection.execute(select(tables.gpu_info).order_by(tables.gpu_info.c.gpu_id)).all()
        packets = tables.packet_info.c
        events = connection.execute(select(packets.event, packets.size).order_by(packets.timestamp)).all()
    assert tuple(system) == (1700000000.25, 7, 12.5, 24000, 31.0, 50, 13, 1400, 100)
    assert tuple(later) == (1700000005.25, 7, 12.5, 24000, 31.0, None, None, None, None)
    assert [tuple(g) for g in gpus] == [
        (1700000000.25, 7, 0, 40, 12, 1350, 61),
        (1700000000.25, 7, 1, 60, 14, 1450, 39),
    ]
    assert [tuple(e) for e in events] == [("start", None), ("sent", 60211), ("recv", 60211)]
    assert counts(engine)["reports"] == 0


def test_an_older_reporter_is_also_known_by_its_nodes_heartbeat(
    engine: Engine, database: DatabaseSettings, tmp_path: Path
) -> None:
    """A node that registered itself needs no file in config/nodes."""
    config = collector_config(tmp_path, database)
    (tmp_path / "nodes" / "here.json").unlink()
    with running(config) as collector:
        unknown = requests.post(f"{collector.url}/", json=OLDER, timeout=20).json()
        assert unknown == {"result": "Failed", "reason": "no node has the address 127.0.0.1"}
        with engine.begin() as connection:
            connection.execute(
                tables.nodes.insert().values(
                    node_id=9, node_name="n", boot_id="b", control_url="http://127.0.0.1:9000", data_url="",
                    heartbeat="{}", last_seen=0.0,
                )
            )  # fmt: skip
        assert requests.post(f"{collector.url}/", json=OLDER, timeout=20).json() == {"result": "Succeeded"}
    with engine.connect() as connection:
        assert connection.scalars(select(tables.sys_info.c.node_id)).all() == [9]


def test_a_bad_report_of_the_older_form_says_why(collector: Daemon, engine: Engine) -> None:
    answer = requests.post(f"{collector.url}/", json={"sys_info": [{"timestamp": 1.0}]}, timeout=20)
    assert answer.status_code == 200
    assert answer.json()["result"] == "Failed"
    assert "cpu_util" in answer.json()["reason"]
    assert set(counts(engine).values()) == {0}


def test_a_database_that_dies_is_503_and_its_return_is_noticed(own_mariadb: MariaDB, tmp_path: Path) -> None:
    database = mysql_settings(own_mariadb, own_mariadb.new_schema())
    engine = db.connect(database)
    db.migrate(engine)
    with running(collector_config(tmp_path, database)) as collector:
        assert send(collector.url, report(1)).status_code == 200
        own_mariadb.kill()
        answer = send(collector.url, report(2))
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "only-for-tests" not in answer.text
        assert requests.get(f"{collector.url}/readyz", timeout=20).status_code == 503
        assert requests.get(f"{collector.url}/healthz", timeout=20).status_code == 200
        own_mariadb.start()
        assert send(collector.url, report(2)).status_code == 200
        assert send(collector.url, report(1)).status_code == 200
    assert counts(engine)["packet_info"] == 40


def test_a_database_that_is_away_at_start_is_exit_3_and_one_line(tmp_path: Path) -> None:
    nobody = DatabaseSettings(db_engine="mysql", db_port=1, db_user="u", db_passwd="s3cret", db_schema="faceservice")
    status, said = refused(collector_config(tmp_path, nobody))
    assert status == 3
    assert said.count("\n") == 1
    assert "127.0.0.1:1" in said
    assert "s3cret" not in said


def test_a_schema_that_is_behind_is_exit_3_until_migrated(mariadb: MariaDB, tmp_path: Path) -> None:
    config = collector_config(tmp_path, mysql_settings(mariadb, mariadb.new_schema()))
    status, said = refused(config)
    assert (status, "--migrate" in said) == (3, True)
    assert refused(config, "--migrate")[0] == 0
    with running(config):
        pass


def test_a_port_in_use_is_exit_3_and_named(collector: Daemon, database: DatabaseSettings, tmp_path: Path) -> None:
    port = int(collector.url.rpartition(":")[2])
    folder = tmp_path / "second"
    folder.mkdir()
    status, said = refused(collector_config(folder, database, port=port))
    assert (status, str(port) in said) == (3, True)
