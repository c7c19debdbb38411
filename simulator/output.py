"""Results as JSON and CSV, and as a table for people."""

import csv
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.table import Table

from simulator.recording import Recording, said
from simulator.results import Result

COLUMNS = [name for name in Result.__struct_fields__ if name not in ("dropped", "sessions")]
SHOWN = {
    "goodput_fps": "goodput/s",
    "miss_rate": "missed",
    "p50_ms": "p50 ms",
    "p95_ms": "p95 ms",
    "p99_ms": "p99 ms",
    "accuracy": "accuracy",
    "joules_per_frame": "J/frame",
    "moves_per_hour": "moves/h",
    "refused_sessions": "refused",
    "fairness": "fairness",
    "decision_ms_p95": "decide p95 ms*",
}


def write(folder: Path, results: Sequence[Result]) -> None:
    """Write results.json, results.csv (a row per run) and sessions.csv (a row per session) into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    with (folder / "results.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        rows.writerows([getattr(result, name) for name in COLUMNS] for result in results)
    with (folder / "sessions.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["algorithm", "seed", "number", "state", "judged", "within", "p50_ms", "p95_ms", "moves"])
        for result in results:
            rows.writerows(
                [result.algorithm, result.seed, s.number, s.state, s.judged, s.within, s.p50_ms, s.p95_ms, s.moves]
                for s in result.sessions
            )


def table(results: Sequence[Result], kept: Recording | None) -> Table:
    """Return a row per run, and under it how far the simulator was from the real system that was recorded."""
    against = f". Latencies against a real system: {said(kept.rows)} (docs/simulator.md)" if kept else ""
    made = Table(caption=f"* CPU time of this machine{against}")
    for name in ("scenario", "algorithm", "seed", *SHOWN.values()):
        made.add_column(name, justify="left" if name in ("scenario", "algorithm") else "right")
    for result in results:
        made.add_row(result.scenario, result.algorithm, str(result.seed), *(_figure(name, result) for name in SHOWN))
    return made


def _figure(name: str, result: Result) -> str:
    value = getattr(result, name)
    if value is None:
        return "-"
    return f"{value:.2%}" if name == "miss_rate" else f"{value:.4g}"
