"""What happens when something dies, on real daemons under traffic: a table with pass or fail, and JSON beside it.

    python3 -m benchmarks.recovery [--quick] [--runs 5] [--json run/recovery.json] [ROW ...]

Rows: kill, kill_entry (a node's process group, kill -9), drain, drain_entry, slow (a node's processes stopped half of
the time), restart (the coordinator), leader (two coordinators on a private MariaDB; needs mariadb-server). Every row
says its worst of all runs. Two cores or more: `cpus` gives the nodes' handlers a core each.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, Outcome
from benchmarks.recovery import control, rows, slow
from benchmarks.recovery.world import World, world
from benchmarks.suite import machine, table, write


class Wishes:
    """How often, and how long."""

    def __init__(self, runs: int, *, quick: bool) -> None:
        self.runs, self.watch_s = runs, slow.QUICK_WATCH_S if quick else slow.WATCH_S


def say(text: str) -> None:
    """Show progress."""
    print(f"  {text}", flush=True)


Measure = Callable[[World, Wishes], Outcome]
ROWS: dict[str, Measure] = {
    "kill": lambda w, o: rows.kill(w, o.runs, say),
    "kill_entry": lambda w, o: rows.kill(w, o.runs, say, entry=True),
    "drain": lambda w, o: rows.drain(w, o.runs, say),
    "drain_entry": lambda w, o: rows.drain(w, o.runs, say, entry=True),
    "slow": lambda w, o: slow.slow(w, o.watch_s, say),
    "restart": lambda w, o: control.restart(w, o.runs, say),
    "leader": lambda w, o: control.leader(w, o.runs, say),
}


@contextmanager
def world_for(name: str) -> Iterator[World]:
    """Start the daemons that a row needs."""
    if name != "leader":
        with world() as made:
            yield made
        return
    from tests.integration.mariadb import MariaDB, mysql_settings, opened

    with tempfile.TemporaryDirectory(prefix="faceservice-mariadb-") as folder:
        server = MariaDB(opened(Path(folder)))
        try:
            with world(coordinators=2, database=mysql_settings(server, server.new_schema())) as made:
                yield made
        finally:
            server.stop()


def main() -> int:
    """Measure, print the table; exit status 0 when every promise holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of: {', '.join(ROWS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="2 runs, and a shorter watch for moves")
    parser.add_argument("--runs", type=int, help="how often each damage is done (5)")
    parser.add_argument("--json", type=Path, default=ROOT / "run" / "recovery.json")
    options = parser.parse_args()
    if unknown := [n for n in options.rows if n not in ROWS]:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    wishes = Wishes(options.runs or (2 if options.quick else 5), quick=options.quick)
    found: dict[str, Any] = {"machine": machine(), "quick": options.quick, "rows": [], "figures": {}, "broken": {}}
    for name in options.rows or ROWS:
        print(f"{name} ...", flush=True)
        try:
            with world_for(name) as made:
                outcome = ROWS[name](made, wishes)
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
