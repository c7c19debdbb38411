"""What is compared: scenarios, algorithms, seeds; and the small version of it all."""

from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple

import msgspec

from simulator.scenario import Scenario, load

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "simulator" / "scenarios"
DEFAULT = "layered_dp"
BASELINES = ("random", "round_robin", "best_fit")  # the default must miss at most half of what the best of them does
SCENARIOS = (
    "uniform", "fast_slow", "edge_cloud", "bursty", "diurnal", "node_lost", "overload", "large",
)  # fmt: skip
ALGORITHMS = (
    DEFAULT, "throughput", "heft", "cpsat", "nsga2", "least_loaded", "best_fit", "weighted_random", "round_robin",
    "random",
)  # fmt: skip
SLOW = ("cpsat", "nsga2")  # not run on the largest: a decision takes seconds there
LIBRARIES = {"cpsat": "ortools", "nsga2": "pymoo"}
LARGEST = "large"
SEEDS, SEEDS_LARGEST = 30, 10
MANY, SHRINK_MANY, SHRINK, SHORTEN = 50, 8, 2, 0.25  # of the smoke version: nodes, and what part of them and the time

replace = msgspec.structs.replace


class Job(NamedTuple):
    """One run."""

    scenario: str
    algorithm: str
    seed: int


def jobs(scenarios: Sequence[str], algorithms: Sequence[str], seeds: int) -> Iterator[Job]:
    """Yield the runs, seed by seed, so that a comparison that was broken off is fair."""
    for seed in range(1, seeds + 1):
        for scenario in scenarios:
            if scenario == LARGEST and seed > SEEDS_LARGEST:
                continue
            for algorithm in algorithms:
                if not (scenario == LARGEST and algorithm in SLOW):
                    yield Job(scenario, algorithm, seed)


def scenario(name: str, *, smoke: bool) -> Scenario:
    """Return the scenario. Raises ScenarioError, OSError."""
    whole = load(FOLDER / f"{name}.json")
    return shrunk(whole) if smoke else whole


def shrunk(whole: Scenario) -> Scenario:
    """Return a small and short version: it shows that all works, and little else."""
    part = SHRINK_MANY if sum(m.count for m in whole.nodes) > MANY else SHRINK
    nodes = [replace(m, count=ceil(m.count / part)) for m in whole.nodes]
    sessions = [replace(c, count=ceil(c.count / part), every_s=c.every_s / 2) for c in whole.sessions]
    churn = whole.churn and replace(whole.churn, every_s=whole.churn.every_s * SHORTEN / 2, down_s=20.0)
    return replace(
        whole, nodes=nodes, sessions=sessions, churn=churn,
        duration_s=min(60.0, whole.duration_s * SHORTEN), warmup_s=min(15.0, whole.warmup_s * SHORTEN),
    )  # fmt: skip
