"""Durations counted by size: what a Prometheus histogram is made of. One thread adds; whoever takes gets a copy."""

from bisect import bisect_left
from collections.abc import Sequence

from msgspec import Struct

LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # of a frame, from post to result
SERVICE_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # of a handler, for a frame
SEND_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)  # of a hop


class Counts(Struct, frozen=True, array_like=True):
    """Durations: how many were up to each bound and above the one before (the last: above all), and their sum in s."""

    numbers: list[int] = []
    total_s: float = 0.0


class Tally:
    """Counts durations between *bounds* (s, rising)."""

    __slots__ = ("_bounds", "_numbers", "_total_s")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._numbers = [0] * (len(self._bounds) + 1)
        self._total_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one; a bound belongs to what is below it."""
        self._numbers[bisect_left(self._bounds, seconds)] += 1
        self._total_s += seconds

    def merge(self, counts: Counts) -> None:
        """Add what another process has counted between the same bounds."""
        for place, number in enumerate(counts.numbers[: len(self._numbers)]):
            self._numbers[place] += number
        self._total_s += counts.total_s

    def read(self) -> Counts:
        """Return what was counted since the start."""
        return Counts(list(self._numbers), self._total_s)


def buckets(bounds: Sequence[float], counts: Counts) -> list[tuple[str, float]]:
    """Return Prometheus' cumulative buckets: (bound, how many were up to it), the last one "+Inf"."""
    names = [*(str(float(bound)) for bound in bounds), "+Inf"]
    numbers = counts.numbers or [0] * len(names)
    return [(name, float(sum(numbers[: place + 1]))) for place, name in enumerate(names)]
