"""A recorded run of the real system, and what the simulator makes of the same frames.

The simulator is given what single frames took (their service times, and what the frame path adds, each with its
spread) and the moments at which the frames of the loaded runs were due. It draws, it does not fit.
"""

import statistics
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import Struct

from simulator.draws import generator
from simulator.run import Run
from simulator.scenario import Scenario

KEPT = Path(__file__).parent / "recordings" / "two_nodes.json"
SEEDS = range(1, 6)
WARMUP = 0.1  # share of a run that is not judged
WANTED = {50: 0.15, 95: 0.25}  # percentile -> error that is accepted, as a share of what was measured
BEYOND = 6  # a stream


class Loaded(Struct, frozen=True, kw_only=True):
    """Frames of a Poisson process. latency_ms: of each, from the moment it was due."""

    load: float  # share of what the slowest handler can do
    due_s: list[float]
    latency_ms: list[float]
    service_ms: dict[int, float]  # handler -> mean time meanwhile

    @property
    def fps(self) -> float:
        """Frames/s that came."""
        return len(self.due_s) / self.due_s[-1]

    def judged_ms(self) -> list[float]:
        """Return the latencies after the warm-up."""
        begin = WARMUP * self.due_s[-1]
        return [ms for due, ms in zip(self.due_s, self.latency_ms, strict=True) if due >= begin]


class Row(NamedTuple):
    """A percentile of a run. by_run_ms: simulated with the mean service times of the run itself, as --from-live has."""

    load: float
    percent: int
    measured_ms: float
    simulated_ms: float
    by_run_ms: float

    @property
    def error(self) -> float:
        """Share of what was measured."""
        return self.simulated_ms / self.measured_ms - 1

    @property
    def error_by_run(self) -> float:
        """The same, knowing what the frames took."""
        return self.by_run_ms / self.measured_ms - 1

    @property
    def good(self) -> bool:
        """As near as is wanted."""
        return abs(self.error) <= WANTED[self.percent]


class Recording(Struct, frozen=True, kw_only=True):
    """Frames that met no other (service_ms: handler -> of each; beyond_ms: latency less that, of each), and runs.

    rows: what the simulator made of them when it was kept.
    """

    date: str
    machine: str
    busy_cores: float  # before it began, by whatever else runs there
    placement: dict[int, int]  # handler -> node
    service_ms: dict[int, list[float]]
    beyond_ms: list[float]
    runs: list[Loaded]
    rows: list[Row] = []


@cache
def kept() -> Recording | None:
    """Return the recording that is shipped, None without one."""
    return msgspec.json.decode(KEPT.read_bytes(), type=Recording) if KEPT.exists() else None


def worst(found: Sequence[Row], percent: int) -> float | None:
    """Return the largest error of a percentile, as a share; None of one that was not compared."""
    return max((abs(r.error) for r in found if r.percent == percent), default=None)


def rows(recording: Recording) -> list[Row]:
    """Return each run's percentiles beside what the simulator expects."""
    found = []
    for run in recording.runs:
        alone = {h: statistics.fmean(ms) for h, ms in recording.service_ms.items()}
        expected, informed = simulate(recording, run, alone), simulate(recording, run, run.service_ms)
        for percent in WANTED:
            values = (float(np.percentile(ms, percent)) for ms in (run.judged_ms(), expected, informed))
            found.append(Row(run.load, percent, *values))
    return found


def simulate(recording: Recording, run: Loaded, means: Mapping[int, float]) -> list[float]:
    """Return latencies (ms) over some seeds. means: handler -> mean service time, ms."""
    asked = scenario(recording, run, means)
    found: list[float] = []
    for seed in SEEDS:
        simulated = Run(asked, "static", seed)
        simulated.run()
        latencies = 1000 * np.array(simulated.held[0].session.tally.latencies)
        found += (latencies + generator(seed, BEYOND).choice(recording.beyond_ms, len(latencies))).tolist()
    return found


def scenario(recording: Recording, run: Loaded, means: Mapping[int, float]) -> Scenario:
    """Return the run as a scenario; hops are in what the frame path adds, so lines cost nothing here."""
    handlers, nodes = sorted(recording.service_ms), sorted(set(recording.placement.values()))
    duration = run.due_s[-1] + 0.001
    kinds = [
        {"name": f"h{h}", "ms": means[h], "samples_ms": recording.service_ms[h], "mem_mib": 1, "load_ms": 0.001}
        for h in handlers
    ]
    session = {
        "service": "s",
        "fps": run.fps,
        "arrivals": {"kind": "recorded", "times_s": run.due_s},
        "delivery": "lossless",
        "placed": {i: [1 + nodes.index(recording.placement[h])] for i, h in enumerate(handlers)},
    }
    return msgspec.convert(
        {
            "name": "recorded",
            "duration_s": duration,
            "warmup_s": WARMUP * run.due_s[-1],
            "kinds": kinds,
            "nodes": [{"name": f"n{n}"} for n in nodes],
            "links": [{"between": ["", ""], "latency_ms": 0, "mbit_s": 1e6}],
            "services": [{"name": "s", "variants": [{"name": "v", "handlers": [k["name"] for k in kinds]}]}],
            "sessions": [session],
            "control": {"admission": False, "rebalance": False},
        },
        type=Scenario,
    )


def said(found: Sequence[Row]) -> str:
    """Return the errors in a line."""
    by = {load: [r for r in found if r.load == load] for load in dict.fromkeys(r.load for r in found)}
    return "; ".join(
        f"at {load:.0%} load " + ", ".join(f"p{r.percent} {r.error:+.0%}" for r in them) for load, them in by.items()
    )
