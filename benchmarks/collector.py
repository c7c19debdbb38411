"""What the collector's way into the database costs: `python3 -m benchmarks.collector [--quick]`.

On a MariaDB of its own. The same packet_info rows, three ways: by POST /reports to a real collector (durable: it
answers after the commit), by LOAD DATA LOCAL INFILE (the fastest that the server has), and by one INSERT and commit
per row. In turn, in one run: ratios count, not figures. Then a table of 5 million rows answers the queries that the
coordinator asks of telemetry.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pymysql
import requests

from coordinator.frame_store import FrameStore
from coordinator.history import History
from tests.daemons import start
from tests.integration.mariadb import PASSWORD, USER, MariaDB, mysql_settings, opened
from wire import database
from wire.settings import DatabaseSettings

REPORT_ROWS, SENDERS = 1000, 8  # rows of a report, agents that report at once
ROUNDS, ASKED = 3, 5
SESSIONS, HANDLERS = 50, 5
COLUMNS = "timestamp, session_id, handler_id, sequence, event, size, node_id"
EVENTS = ("recv", "start", "end", "sent")
Row = tuple[float, int, int, int, str, int | None, int]
CONFIG = """
[collector]
collector_port = 0
node_path = {folder}/nodes

[database]
db_engine = mysql
db_addr = 127.0.0.1
db_port = {port}
db_user = {user}
db_passwd = {password}
db_schema = {schema}
"""


def rows(count: int, begin: float) -> Iterator[Row]:
    """Yield *count* rows as nodes report them: frames of SESSIONS sessions, every event of every handler, in time."""
    for n in range(count):
        frame, rest = divmod(n, HANDLERS * len(EVENTS))
        handler, event = divmod(rest, len(EVENTS))
        session = frame % SESSIONS + 1
        size = 60_000 if EVENTS[event] in ("recv", "sent") else None
        yield begin + n / 1000, session, handler, frame // SESSIONS, EVENTS[event], size, handler % 2 + 1


class Table:
    """packet_info of one schema, over a connection of its own."""

    def __init__(self, server: MariaDB, schema: str, folder: Path) -> None:
        self._connection = pymysql.connect(
            host="127.0.0.1", port=server.port, user=USER, password=PASSWORD, database=schema, local_infile=True
        )
        self._file = folder / "rows.tsv"

    def run(self, statement: str, values: Row | None = None) -> None:
        """Run and commit one statement."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
        self._connection.commit()

    def write_file(self, many: Iterator[Row]) -> None:
        """Write *many* for load()."""
        with self._file.open("w") as file:
            for row in many:
                file.write("\t".join(r"\N" if v is None else str(v) for v in row) + "\n")

    def load(self) -> None:
        """LOAD DATA LOCAL INFILE of what was written."""
        self.run(f"LOAD DATA LOCAL INFILE '{self._file}' INTO TABLE packet_info ({COLUMNS})")

    def one_by_one(self, many: list[Row]) -> None:
        """Insert each row by a statement and a commit of its own."""
        for row in many:
            self.run(f"INSERT INTO packet_info ({COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s)", row)


def post(url: str, bodies: list[bytes]) -> None:
    """Post all reports, by SENDERS at once. Raises HTTPError when one is not taken."""
    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(lambda body: requests.post(f"{url}/reports", data=body, timeout=60).raise_for_status(), bodies))


def reports(many: list[Row], first: int) -> list[bytes]:
    """Return *many* as bodies of POST /reports."""
    names = COLUMNS.split(", ")[:-1]
    parts = [many[i : i + REPORT_ROWS] for i in range(0, len(many), REPORT_ROWS)]
    return [
        msgspec.json.encode(
            {
                "node_id": 1,
                "boot_id": "benchmark",
                "report_id": first + i,
                "packet_info": [dict(zip(names, row, strict=False)) for row in part],
            }
        )
        for i, part in enumerate(parts)
    ]


def per_second(count: int, work: Callable[[], object]) -> float:
    """Return rows per second of *work*, which writes *count*."""
    begin = time.perf_counter()
    work()
    return count / (time.perf_counter() - begin)


def measure_writing(table: Table, url: str, count: int) -> dict[str, float]:
    """Return rows per second of the three ways, medians of ROUNDS."""
    found: dict[str, list[float]] = {"http": [], "load": [], "single": []}
    few = count // 50
    for turn in range(ROUNDS):
        table.run("TRUNCATE packet_info")
        bodies = reports(list(rows(count, 1e9)), turn * count)
        found["http"].append(per_second(count, lambda bodies=bodies: post(url, bodies)))  # type: ignore[misc]
        table.run("TRUNCATE packet_info")
        table.write_file(rows(count, 1e9))
        found["load"].append(per_second(count, table.load))
        table.run("TRUNCATE packet_info")
        found["single"].append(per_second(few, lambda: table.one_by_one(list(rows(few, 1e9)))))
    return {way: round(statistics.median(speeds)) for way, speeds in found.items()}


def measure_asking(table: Table, settings: DatabaseSettings, count: int) -> dict[str, float]:
    """Fill packet_info and proc_info with *count* rows in all and return the median ms of each query."""
    now = time.time()
    table.run("TRUNCATE packet_info")
    table.write_file(rows(count, now - count / 1000))
    table.load()
    table.run(
        "INSERT IGNORE INTO proc_info (timestamp, session_id, handler_id, node_id, cpu_util, mem_util, queue_size, "
        "frames, service_ms) SELECT timestamp, session_id, handler_id, node_id, 50, 1, 0, 10, 20 FROM packet_info "
        "WHERE event = 'end' AND sequence % 10 = 0"
    )
    table.run(
        "INSERT IGNORE INTO link_info (timestamp, node_id, target_node_id, frames, bytes, send_ms) "
        "SELECT timestamp, 1, 2, 10, 600000, 2 FROM packet_info WHERE event = 'sent' AND handler_id = 1 "
        "AND sequence % 10 = 0"
    )
    engine = database.connect(settings)
    frames = FrameStore(engine)
    last = count // (HANDLERS * len(EVENTS) * SESSIONS) - 1
    queries: dict[str, Callable[[], object]] = {
        "latest frames": lambda: frames.latest(7, 20),
        "latest frames, 1000": lambda: frames.latest(7, 1000),
        "one frame": lambda: frames.seen(7, last // 2),
        "service times and links": lambda: History(engine).known([], now),
    }
    try:
        return {name: median_ms(query) for name, query in queries.items()}
    finally:
        engine.dispose()


def median_ms(query: Callable[[], object]) -> float:
    """Return the median time of ASKED calls, the first (nothing cached yet) among them."""
    return round(statistics.median(1000 / per_second(1, query) for _ in range(ASKED)), 1)


def migrate(settings: DatabaseSettings) -> None:
    """Make the tables."""
    engine = database.connect(settings)
    database.migrate(engine)
    engine.dispose()


@contextmanager
def system() -> Iterator[tuple[Table, str, DatabaseSettings]]:
    """Yield a table of a new MariaDB, the URL of a collector on it, and the database's settings."""
    with tempfile.TemporaryDirectory(prefix="fs-bench-") as name:
        folder = Path(name)
        (folder / "nodes").mkdir()
        (folder / "db").mkdir()
        server = MariaDB(opened(folder / "db"))
        try:
            server.admin("SET GLOBAL local_infile = 1")
            schema = server.new_schema()
            settings = mysql_settings(server, schema)
            migrate(settings)
            config = folder / "collector.conf"
            config.write_text(
                CONFIG.format(folder=folder, port=server.port, user=USER, password=PASSWORD, schema=schema)
            )
            collector = start(config, folder).wait_ready()
            try:
                yield Table(server, schema, folder), collector.url, settings
            finally:
                collector.stop()
        finally:
            server.stop()


def main(argv: list[str]) -> int:
    """Measure, print one line of JSON, and return 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    scale = 10 if parser.parse_args(argv).quick else 1
    with system() as (table, url, settings):
        speeds = measure_writing(table, url, 200_000 // scale)
        times = measure_asking(table, settings, 5_000_000 // scale)
    shares = {
        "percent_of_load": round(100 * speeds["http"] / speeds["load"], 1),
        "times_single": round(speeds["http"] / speeds["single"], 1),
    }
    sys.stdout.write(json.dumps({"rows_per_s": speeds} | shares | {"query_ms": times}) + "\n")
    kept = shares["percent_of_load"] >= 15 and shares["times_single"] >= 5 and max(times.values()) <= 100
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
