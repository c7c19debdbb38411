"""The fault laboratory's command line: python3 -m tests.faults --seed N, or --seeds A-B (scripts/faults)."""

import argparse
import json
import shutil
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.daemons import ROOT
from tests.faults.plans import Plan, plan
from tests.faults.run import Outcome, run

RECORDS = ROOT / "run/faults"


def main() -> int:
    """Run the seeds asked for; return 1 when a promise was broken."""
    asked = arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # KeyboardInterrupt: a run that is stopped leaves nothing
    if asked.seed is not None:
        made = plan(asked.seed, nodes_die=asked.nodes_die)
        say(json.dumps(made.document(), indent=1))
        outcome = attempt(made, asked.frames, RECORDS / f"logs-{asked.seed}" if asked.keep else None)
        say(json.dumps(asdict(outcome), indent=1))
        return 1 if outcome.violations else 0
    records = [one(seed, asked) for seed in asked.seeds]
    table(records)
    return 1 if any(record["violations"] for record in records) else 0


def arguments() -> argparse.Namespace:
    """Return the command line's words."""
    parser = argparse.ArgumentParser(prog="scripts/faults", description=__doc__)
    parser.add_argument("--seeds", type=seeds, default=range(1, 51), help="A-B, both included (1-50)")
    parser.add_argument("--seed", "--only", type=int, help="run this one alone, and print its plan")
    parser.add_argument("--frames", type=int, default=500, help="answered frames at least, in each run (500)")
    parser.add_argument("--nodes-die", action="store_true", help="kill whole nodes and the coordinator too")
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
        return run(made, frames, keep)
    except Exception as error:  # noqa: BLE001 - the next seed shall run all the same
        return Outcome(made.seed, violations=[f"the run broke: {type(error).__name__}: {str(error)[:1500]}"])


def one(seed: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Return the record of *seed*: that of an earlier run, when there is one."""
    RECORDS.mkdir(parents=True, exist_ok=True)
    name = f"{'nodes-' if asked.nodes_die else ''}{seed:04}"
    path, logs = RECORDS / f"{name}.json", RECORDS / f"logs-{name}"
    if path.exists() and not asked.again:
        record: dict[str, Any] = json.loads(path.read_text())
        if record["wanted"] >= asked.frames:
            return record
    outcome = attempt(plan(seed, nodes_die=asked.nodes_die), asked.frames, logs)
    if not (outcome.violations or asked.keep):
        shutil.rmtree(logs, ignore_errors=True)
    record = asdict(outcome) | {"wanted": asked.frames, "date": time.strftime("%Y-%m-%d %H:%M:%S")}
    path.write_text(json.dumps(record, indent=1))
    say(line(record))
    for violation in record["violations"][:5]:
        say(f"       {violation[:300]}")
    return record


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
    say(f"{len(records)} runs, {total['frames']} frames, {total['posts']} posts, {total['seconds']:.0f} s")
    say(f"violations in seeds {broken}" if broken else "no violation")


if __name__ == "__main__":
    sys.exit(main())
