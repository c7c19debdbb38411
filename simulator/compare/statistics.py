"""Means with bootstrap confidence intervals over seeds (Efron 1979), and the default against the others, paired."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from simulator.compare.plan import BASELINES, DEFAULT
from simulator.results import Result

RESAMPLES = 2000
LEVEL = 95.0  # %
HALF, WORSE = 0.5, 1.1  # of the best baseline's misses: what the default must reach, and what it must never exceed
NOTHING = 0.001  # share of frames missed that counts as none

Figures = Mapping[str, Mapping[str, Sequence[Result]]]  # scenario -> algorithm -> results, of the same seeds


class Interval(NamedTuple):
    """A mean, and where it lies with 95 % confidence."""

    mean: float
    low: float
    high: float


class Verdict(NamedTuple):
    """The default against the best baseline of a scenario, by share of frames missed."""

    scenario: str
    baseline: str
    default_misses: float
    baseline_misses: float
    difference: Interval  # default - baseline, paired by seed

    @property
    def ratio(self) -> float:
        """The default's misses as a multiple of the baseline's."""
        return self.default_misses / self.baseline_misses if self.baseline_misses else 1.0

    @property
    def half(self) -> bool:
        """At most half, or next to nothing."""
        return self.ratio <= HALF or self.default_misses <= NOTHING

    @property
    def never_worse(self) -> bool:
        """Not more than 10 % worse."""
        return self.ratio <= WORSE or self.default_misses <= NOTHING


def interval(values: Sequence[float]) -> Interval:
    """Return mean and confidence interval; the same values give the same interval."""
    found = np.array(values, float)
    if len(found) < 2:
        return Interval(float(found.mean()), float(found.mean()), float(found.mean()))
    draw = np.random.default_rng(0)
    means = found[draw.integers(len(found), size=(RESAMPLES, len(found)))].mean(axis=1)
    low, high = np.percentile(means, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return Interval(float(found.mean()), float(low), float(high))


def column(results: Sequence[Result], name: str) -> list[float]:
    """Return a figure of each run; where a run has none it is left out."""
    values = [getattr(r, name) for r in results]
    return [float(v) for v in values if v is not None]


def verdict(scenario: str, found: Mapping[str, Sequence[Result]]) -> Verdict | None:
    """Return how the default does, None when it or all baselines were not run."""
    means = {a: float(np.mean(column(found[a], "miss_rate"))) for a in BASELINES if a in found}
    if DEFAULT not in found or not means:
        return None
    best = min(means, key=lambda a: means[a])
    mine, its = column(found[DEFAULT], "miss_rate"), column(found[best], "miss_rate")
    difference = interval([a - b for a, b in zip(mine, its, strict=True)])
    return Verdict(scenario, best, float(np.mean(mine)), means[best], difference)


def differences(found: Mapping[str, Sequence[Result]]) -> dict[str, Interval]:
    """Return algorithm -> share of frames that the default misses beyond what it does, paired by seed."""
    if DEFAULT not in found:
        return {}
    mine = column(found[DEFAULT], "miss_rate")
    return {
        algorithm: interval([a - b for a, b in zip(mine, column(results, "miss_rate"), strict=True)])
        for algorithm, results in found.items()
        if algorithm != DEFAULT
    }


def sure(difference: Interval) -> bool:
    """Return whether a difference is beyond chance; that of one seed is an interval of no width, and never is."""
    return difference.low < difference.high and (difference.low > 0 or difference.high < 0)


def losses(found: Mapping[str, Sequence[Result]]) -> dict[str, Interval]:
    """Return the algorithms that miss fewer frames than the default, beyond chance, and by how much."""
    return {a: d for a, d in differences(found).items() if sure(d) and d.mean > 0}
