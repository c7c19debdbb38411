"""What each work usually takes: slow means of what heartbeats say, so that a node that has become slow stands out.

Measured times alone cannot tell slow work from a slow node while the work runs on one node only. Kept in memory: after
a restart the first minutes count as usual.
"""

import threading
from collections.abc import Mapping

from coordinator.allocation.base import Measured, Work
from coordinator.snapshot import Times, mean

SLOW_S = 120.0  # time constant of the mean
FORGET_S = 900.0  # a pair that was not heard for so long


class Usual:
    """Thread-safe. One exponential mean per (work, node)."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[Work, int], tuple[float, float, float]] = {}  # mean ms, since, last heard (monotonic s)
        self._lock = threading.Lock()

    def hear(self, times: Times, at: float) -> None:
        """Take what handlers report at *at* (monotonic s): (work, node) -> ms per frame."""
        with self._lock:
            for key, time in times.items():
                before, since, last = self._pairs.get(key, (time.ms, at, at))
                share = min(1.0, (at - last) / max(1e-9, min(SLOW_S, at - since)))  # a plain mean in the beginning
                self._pairs[key] = (before + share * (time.ms - before), since, at)
            self._pairs = {k: p for k, p in self._pairs.items() if at - p[2] < FORGET_S}

    def times(self) -> Mapping[Work, Measured]:
        """Return work -> its mean over the nodes where it ran."""
        with self._lock:
            found: dict[Work, list[Measured]] = {}
            for (what, _), (ms, since, last) in self._pairs.items():
                found.setdefault(what, []).append(Measured(ms=ms, frames=1.0 + last - since))
        return {what: mean(times) for what, times in found.items()}
