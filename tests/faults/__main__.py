"""The fault laboratory's command line: python3 -m tests.faults --seed N, or --seeds A-B (scripts/faults).

Each seed gives a plan, each run a record in run/faults. --whole takes the whole system: coordinators, collector,
MariaDB, three nodes, clients, 30 s of faults of every kind. A plan that broke a promise is run again by --plan FILE
(its record), and --minimise finds the fewest faults that still break one.
"""

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec

from tests.daemons import ROOT
from tests.faults.minimise import ddmin
from tests.faults.plans import Fault, Plan, plan
from tests.faults.run import Outcome, run
from tests.faults.whole_plans import whole_plan
from tests.faults.whole_run import run_whole

RECORDS = ROOT / "run/faults"
BROKE = "the run broke"


def main() -> int:
    """Run what is asked for; return 1 when a promise was broken."""
    asked = arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # KeyboardInterrupt: a run that is stopped leaves nothing
    if asked.plan is not None:
        return alone(msgspec.convert(json.loads(asked.plan.read_text())["plan"], Plan, strict=False), asked)
    if asked.seed is not None and asked.minutes is None:
        return alone(made_of(asked.seed, asked), asked)
    records = [one(seed, asked) for seed in wanted(asked)]
    table(records)
    return 1 if any(record["violations"] for record in records) else 0


def wanted(asked: argparse.Namespace) -> Iterator[int]:
    """Yield the seeds asked for; with --minutes one after the other until they are over."""
    if asked.minutes is None:
        yield from asked.seeds
        return
    until, number = time.monotonic() + 60 * asked.minutes, asked.seed or 1
    while time.monotonic() < until:
        yield number
        number += 1


def made_of(seed: int, asked: argparse.Namespace) -> Plan:
    """Return the plan of *seed*."""
    return whole_plan(seed) if asked.whole else plan(seed, nodes_die=asked.nodes_die)


def alone(made: Plan, asked: argparse.Namespace) -> int:
    """Run one plan and tell all of it, or find its fewest faults; returns 1 when a promise was broken."""
    say(json.dumps(made.document(), indent=1))
    if asked.minimise:
        return fewest(made, asked)
    outcome = attempt(made, asked.frames, RECORDS / f"logs-{made.seed}" if asked.keep else None)
    say(json.dumps(asdict(outcome), indent=1))
    return 1 if outcome.violations else 0


def fewest(made: Plan, asked: argparse.Namespace) -> int:
    """Find the fewest faults of *made* that break the promise that it breaks; they go into a record of their own."""

    def breaks(faults: Sequence[Fault]) -> bool:
        part = replace(made, faults=tuple(faults))
        for _ in range(asked.tries):
            broken = promises(attempt(part, asked.frames, None).violations)
            say(f"{len(faults)} faults: {', '.join(sorted(broken)) or 'nothing broken'}")
            if broken & first:
                return True
        return False

    first = promises(attempt(made, asked.frames, None).violations)
    if not first:
        say("nothing broken: nothing to minimise")
        return 0
    left = replace(made, faults=tuple(ddmin(made.faults, breaks)))
    path = RECORDS / f"fewest-{made.seed:04}.json"
    RECORDS.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"plan": left.document(), "promises": sorted(first)}, indent=1))
    say(f"{len(left.faults)} of {len(made.faults)} faults are enough: {path}")
    return 1


def promises(violations: Iterable[str]) -> set[str]:
    """Return the names of what was broken: G1, G2, ..."""
    return {name for text in violations for name in re.findall(r"\bG\d\b", text) or ["run"]}


def arguments() -> argparse.Namespace:
    """Return the command line's words."""
    parser = argparse.ArgumentParser(
        prog="scripts/faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=seeds, default=range(1, 51), help="A-B, both included (1-50)")
    parser.add_argument("--seed", "--only", type=int, help="run this one alone, and print its plan")
    parser.add_argument("--minutes", type=float, help="from --seed (1) on, one after the other, for so long")
    parser.add_argument("--frames", type=int, default=500, help="answered frames at least, in each run (500)")
    parser.add_argument("--nodes-die", action="store_true", help="kill whole nodes and the coordinator too")
    parser.add_argument("--whole", action="store_true", help="the whole system, 30 s of faults of every kind")
    parser.add_argument("--plan", type=Path, metavar="FILE", help="run the plan of this record")
    parser.add_argument("--minimise", action="store_true", help="of --seed or --plan: find the fewest faults")
    parser.add_argument("--tries", type=int, default=2, help="--minimise: runs until a part is held good (2)")
    parser.add_argument("--again", action="store_true", help="run seeds that are finished once more")
    parser.add_argument("--keep", action="store_true", help="keep the daemons' logs of good runs too (run/faults)")
    return parser.parse_args()


def seeds(text: str) -> range:
    """Return the seeds that "A-B" or "A" names."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def attempt(made: Plan, frames: int, keep: Path | None) -> Outcome:
    """Run a plan; what breaks the run itself is a violation too."""
    try:
        return run_whole(made, keep) if made.whole else run(made, frames, keep)
    except Exception as error:  # noqa: BLE001 - the next seed shall run all the same
        return Outcome(made.seed, violations=[f"{BROKE}: {type(error).__name__}: {str(error)[:1500]}"])


def one(seed: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Return the record of *seed*: that of an earlier run, when there is one."""
    RECORDS.mkdir(parents=True, exist_ok=True)
    kind = "whole-" if asked.whole else "nodes-" if asked.nodes_die else ""
    name, made = f"{kind}{seed:04}", made_of(seed, asked)
    path, logs = RECORDS / f"{name}.json", RECORDS / f"logs-{name}"
    if path.exists() and not asked.again:
        record: dict[str, Any] = json.loads(path.read_text())
        if finished(record, made, asked.frames):
            return record
    outcome = attempt(made, asked.frames, logs)
    if not (outcome.violations or asked.keep):
        shutil.rmtree(logs, ignore_errors=True)
    record = asdict(outcome) | {"wanted": asked.frames, "date": time.strftime("%Y-%m-%d %H:%M:%S"), "commit": code()}
    path.write_text(json.dumps(record | {"plan": made.document()}, indent=1))
    say(line(record))
    for violation in record["violations"][:5]:
        say(f"       {violation[:300]}")
    return record


def code() -> str:
    """Return which code runs: the commit, "+" behind it where files differ from it; "" outside of a git checkout."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    return said.stdout.strip()


def finished(record: dict[str, Any], made: Plan, frames: int) -> bool:
    """Return True when *record* is of a whole run, of this plan: not one that broke off."""
    came = not any(told.startswith(BROKE) for told in record["violations"])
    return came and (record["wanted"] >= frames or made.whole) and record.get("plan", {}) == as_json(made)


def as_json(made: Plan) -> Any:
    """Return a plan as a record has it."""
    return json.loads(json.dumps(made.document()))


def line(record: dict[str, Any]) -> str:
    """Return a run in one line."""
    resent = sum(books.get("resent", 0) for books in record["books"])
    dropped = sum(sum(books.get("dropped", {}).values()) for books in record["books"])
    return (
        f"seed {record['seed']:4}  {record['seconds']:6.1f} s  {record['frames']:5} frames  {record['posts']:5} posts  "
        f"{resent:4} sent again  {dropped:4} dropped  slowest {record['slowest_s']:5.2f} s  "
        f"{len(record['violations'])} violations"
    )


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def table(records: list[dict[str, Any]]) -> None:
    """Print all runs and their sum."""
    say("")
    for record in records:
        say(line(record))
    broken = [record["seed"] for record in records if record["violations"]]
    total = {name: sum(record[name] for record in records) for name in ("frames", "posts", "seconds")}
    codes = sorted({record.get("commit") or "unknown" for record in records})
    say(f"code: {', '.join(codes)}")
    say(f"{len(records)} runs, {total['frames']} frames, {total['posts']} posts, {total['seconds']:.0f} s")
    say(f"violations in seeds {broken}" if broken else "no violation")


if __name__ == "__main__":
    sys.exit(main())
