"""The benchmark suite: `scripts/bench [--quick] [--soak 15m] [NAME ...]`. A table at the end, JSON beside it."""

import argparse
import json
import os
import platform
import re
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks import chains, faces, handoff, latency, memory, relay, soak, start, telemetry
from benchmarks.cluster import Cluster, running
from benchmarks.common import ROOT, Outcome, Row, Scale, others_load


class Run:
    """One run of the suite: daemons are started when the first benchmark needs them, and stopped at the end."""

    def __init__(self, scale: Scale, stack: ExitStack) -> None:
        self.scale = scale
        self._stack = stack

    @cached_property
    def cluster(self) -> Cluster:
        """The product as configured by default: telemetry of every frame."""
        return self._stack.enter_context(running())

    @cached_property
    def silent(self) -> Cluster:
        """The product without telemetry."""
        return self._stack.enter_context(running(telemetry=False, sample=0.0))

    def say(self, text: str) -> None:
        """Show progress."""
        print(f"  {text}", flush=True)


BENCHMARKS: dict[str, Callable[[Run], Outcome]] = {
    "hop": lambda run: relay.run(run.scale, run.say),
    "handoff": lambda run: handoff.run(run.scale, run.say),
    "start": lambda run: start.run(run.scale, run.say),
    "chains": lambda run: chains.run(run.silent, run.scale, run.say),
    "faces": lambda run: faces.run(run.cluster, run.scale, run.say),
    "latency": lambda run: latency.run(run.cluster, run.scale, run.say),
    "telemetry": lambda run: telemetry.run(run.cluster, run.silent, run.scale, run.say),
    "memory": lambda run: memory.run(run.cluster, run.scale, run.say),
}


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    try:
        model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        model = None
    return {
        "cpu": model[1] if model else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores_busy_before": round(others_load(), 2),
    }


def measure(names: list[str], scale: Scale) -> dict[str, Any]:
    """Run the named benchmarks; one that breaks is told and does not stop the others."""
    found: dict[str, Any] = {"machine": machine(), "quick": scale.quick, "rows": [], "figures": {}, "broken": {}}
    with ExitStack() as stack:
        run = Run(scale, stack)
        for name in names:
            print(f"{name} ...", flush=True)
            began = time.monotonic()
            try:
                outcome = BENCHMARKS[name](run)
            except Exception as error:  # noqa: BLE001 - the others go on; the run fails at its end
                found["broken"][name] = f"{type(error).__name__}: {error}"
                print(f"  broken: {found['broken'][name]}", flush=True)
                continue
            found["figures"][name] = outcome.figures | {"seconds": time.monotonic() - began}
            found["rows"] += outcome.rows
    return found


def table(rows: list[Row]) -> str:
    """Return the table for people."""
    verdicts = {True: "pass", False: "FAIL", None: ""}
    lines = [f"{'what':74} {'figure':>9}    {'promised':>9}", "-" * 102]
    for row in rows:
        lines.append(f"{row.what:74} {row.value:9.2f} {row.unit:2} {row.limit:>9} {verdicts[row.passed]}")
        if row.note:
            lines.append(f"    {row.note}")
    return "\n".join(lines)


def write(found: dict[str, Any], path: Path) -> None:
    """Write the JSON document."""
    rows = [
        {"what": r.what, "value": r.value, "unit": r.unit, "limit": r.limit, "passed": r.passed, "note": r.note}
        for r in found["rows"]
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found | {"rows": rows}, indent=1))


def seconds(text: str) -> float:
    """Return "15m", "90s" or "1h" in seconds."""
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if parts is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration like 15m")
    return float(parts[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[parts[2]]


def arguments() -> argparse.Namespace:
    """Return the command line's."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure the product against its promises.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer frames: for development, not for RESULTS.md")
    parser.add_argument("--soak", type=seconds, metavar="15m", help="instead: load for so long, with a plot at the end")
    parser.add_argument("--json", type=Path, default=ROOT / "run" / "bench.json", help="where the figures go")
    options = parser.parse_args()
    if unknown := [n for n in options.names if n not in BENCHMARKS]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    return options


def stop(number: int, frame: FrameType | None) -> None:
    """Make SIGTERM end the run as Ctrl-C does: the daemons are stopped first."""
    raise KeyboardInterrupt


def main() -> int:
    """Measure, print the table; exit status 0 when every promise holds and nothing broke."""
    options = arguments()
    signal.signal(signal.SIGTERM, stop)
    if options.soak is not None:
        return soak.main(options.soak)
    found = measure(options.names or list(BENCHMARKS), Scale(options.quick))
    write(found, options.json)
    about = found["machine"]
    print(f"\n{about['cores']} x {about['cpu']}, {about['system']}, Python {about['python']}, {about['date']}")
    print(f"cores busy with other things before: {about['cores_busy_before']}; all figures: {options.json}\n")
    print(table(found["rows"]))
    for name, why in found["broken"].items():
        print(f"{name} broke: {why}")
    failed = [row for row in found["rows"] if row.passed is False]
    print(f"\n{sum(row.passed is True for row in found['rows'])} promises hold, {len(failed)} do not")
    return 1 if failed or found["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
