"""Row counts of the telemetry tables, read from the demo's SQLite file."""

import sqlite3
from contextlib import closing
from pathlib import Path

TABLES = ("sys_info", "proc_info", "packet_info", "link_info")


def counts(path: Path) -> dict[str, int]:
    """Return the rows of each of TABLES; 0 for one that is not there yet. Raises sqlite3.Error."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)) as database:
        there = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return {table: _count(database, table) if table in there else 0 for table in TABLES}


def steps_done(path: Path) -> int:
    """Return how many times packet_info says that a handler was done with a frame; 0 while there is no such table."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)) as database:
        try:
            (rows,) = database.execute("SELECT COUNT(*) FROM packet_info WHERE event = 'end'").fetchone()
        except sqlite3.OperationalError:
            return 0
    return int(rows)


def _count(database: sqlite3.Connection, table: str) -> int:
    (rows,) = database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()  # noqa: S608 - one of TABLES
    return int(rows)
