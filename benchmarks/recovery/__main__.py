"""What happens when something dies, on real daemons under traffic: a table with pass or fail, and JSON beside it.

    python3 -m benchmarks.recovery [--quick] [--runs 5] [--json run/recovery.json] [ROW ...]

Rows: kill, kill_entry (a node's process group, kill -9), drain, drain_entry, slow (a node's processes stopped half of
the time), restart (the coordinator), leader (two coordinators on a private MariaDB; needs mariadb-server), handler,
gateway (their process, kill -9), collector, database (killed, there again 2 s later). Every row says its worst of all
runs, and beneath it all of them with their median. The first run of `slow` is watched for five minutes: does the
session move back and forth? All rows with --runs 3 take about 15 minutes on a quiet machine. Two cores or more: `cpus`
gives the nodes' handlers a core each.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.common import ROOT, Outcome, Say
from benchmarks.recovery import control, parts, rows, slow
from benchmarks.recovery.world import World, world
from benchmarks.suite import machine, table, write


class Wishes(NamedTuple):
    """How often, and how long a slow node is watched in the first run (s)."""

    runs: int
    watch_s: float


def say(text: str) -> None:
    """Show progress."""
    print(f"  {text}", flush=True)


Measure = Callable[[Wishes], Outcome]


def alone(measure: Callable[[World, int, Say], Outcome]) -> Measure:
    """Return *measure* with daemons of its own."""

    def measured(wishes: Wishes) -> Outcome:
        with world() as made:
            return measure(made, wishes.runs, say)

    return measured


def two_coordinators(wishes: Wishes) -> Outcome:
    """Measure with two coordinators on a private MariaDB."""
    from tests.integration.mariadb import MariaDB, mysql_settings, opened

    with tempfile.TemporaryDirectory(prefix="faceservice-mariadb-") as folder:
        server = MariaDB(opened(Path(folder)))
        try:
            with world(coordinators=2, database=mysql_settings(server, server.new_schema())) as made:
                return control.leader(made, wishes.runs, say)
        finally:
            server.stop()


ROWS: dict[str, Measure] = {
    "kill": alone(rows.kill),
    "kill_entry": alone(partial(rows.kill, entry=True)),
    "drain": alone(rows.drain),
    "drain_entry": alone(partial(rows.drain, entry=True)),
    "slow": lambda wishes: slow.slow(world, wishes.runs, wishes.watch_s, say),
    "restart": alone(control.restart),
    "leader": two_coordinators,
    "handler": alone(parts.handler),
    "gateway": alone(parts.gateway),
    "collector": alone(parts.collector),
    "database": lambda wishes: parts.database(wishes.runs, say),
}


def main() -> int:
    """Measure, print the table; exit status 0 when every promise holds."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # KeyboardInterrupt: daemons go on and end
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of: {', '.join(ROWS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="2 runs, and a watch of 45 s for moves")
    parser.add_argument("--runs", type=int, help="how often each damage is done (5)")
    parser.add_argument("--json", type=Path, default=ROOT / "run" / "recovery.json")
    options = parser.parse_args()
    if unknown := [n for n in options.rows if n not in ROWS]:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    wishes = Wishes(options.runs or (2 if options.quick else 5), slow.SHORT_WATCH_S if options.quick else slow.WATCH_S)
    found: dict[str, Any] = {"machine": machine(), "quick": options.quick, "rows": [], "figures": {}, "broken": {}}
    for name in options.rows or ROWS:
        print(f"{name} ...", flush=True)
        try:
            outcome = ROWS[name](wishes)
        except Exception as error:  # noqa: BLE001 - the others go on; the run fails at its end
            found["broken"][name] = f"{type(error).__name__}: {error}"
            continue
        found["rows"] += outcome.rows
        found["figures"][name] = outcome.figures
    write(found, options.json)
    print(f"\n{json.dumps(found['machine'])}\n{table(found['rows'])}")
    for name, why in found["broken"].items():
        print(f"{name} broke: {why}")
    return 1 if found["broken"] or any(row.passed is False for row in found["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main())
