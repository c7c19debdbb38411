"""How long a handler computes on a node: what was measured, blended with what is expected without measurement.

expected(work, node) = profile(work) x factor(work) / speed(node)
    both learnt from ln(measured / profile) of every pair that was measured, shrunk towards 1 (see _learn)
    where the work has run for a while its usual time takes the place of profile x factor
estimate = Z measured + (1 - Z) expected,  Z = frames / (frames + K)   (Buhlmann 1967, credibility)
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

from coordinator.allocation.arrays import Floats, Nodes
from coordinator.allocation.base import Measured, Snapshot, Work, params_of

CREDIBLE_FRAMES = 20.0  # K: with so many frames measured and expected count the same
PAIRS = 1.0  # a factor or a speed known from n pairs is believed by n / (n + PAIRS)
UNKNOWN_MS = 10.0  # nothing was said and nothing was measured anywhere

Residuals = dict[tuple[Work, int], tuple[float, float]]  # ln(measured / profile), weight 0-1


def credibility(frames: float) -> float:
    """Return Z, 0-1."""
    return frames / (frames + CREDIBLE_FRAMES)


class ServiceTimes:
    """Service times by work, as arrays over the nodes."""

    def __init__(self, nodes: Nodes, snapshot: Snapshot) -> None:
        self._nodes, self._types, self._usual = nodes, snapshot.types, snapshot.usual
        self._by_work: dict[Work, list[tuple[int, Measured]]] = defaultdict(list)
        for (what, node_id), time in snapshot.times.items():
            if node_id in nodes.index and time.frames > 0:
                self._by_work[what].append((nodes.index[node_id], time))
        residuals = {
            (what, i): (math.log(max(t.ms, 1e-3) / self._profile(what)), credibility(t.frames))
            for what, times in self._by_work.items()
            for i, t in times
        }
        self._factor, speeds = _learn(residuals)
        self.slowness: Floats = np.ones(len(nodes))  # 1 / speed
        for i, slowness in speeds.items():
            self.slowness[i] = slowness

    def expected(self, what: Work) -> Floats:
        """Return ms per frame on each node, measurements of just that pair left out."""
        return self.slowness * (self._profile(what) * self._factor_of(what))

    def estimate(self, what: Work) -> tuple[Floats, Floats]:
        """Return ms per frame on each node, and the confidence Z (0-1) of each."""
        ms, confidence = self.expected(what), np.zeros(len(self._nodes))
        for i, time in self._by_work.get(what, ()):
            z = credibility(time.frames)
            ms[i], confidence[i] = z * time.ms + (1 - z) * ms[i], z
        return ms, confidence

    def usual(self, what: Work) -> bool:
        """Return whether it is known what the work usually takes."""
        return what in self._usual

    def _factor_of(self, what: Work) -> float:
        """Return by what the profile is wrong; what is usual was measured, so only nodes make it differ."""
        return 1.0 if what in self._usual else self._factor.get(what, 1.0)

    def _profile(self, what: Work) -> float:
        """Return ms of an ordinary node: what is usual for this work, else what the type's profile says."""
        if what in self._usual:
            return max(1e-3, self._usual[what].ms)
        view = self._types.get(what[0])
        return (view.given(params_of(what)).service_ms if view else None) or UNKNOWN_MS


def _learn(residuals: Residuals) -> tuple[dict[Work, float], dict[int, float]]:
    """Return the factor of each work and the slowness of each node, from a two-way additive model of the logarithms.

    One pass of backfitting: nodes first (against the mean of each work), then works (against their nodes).
    """
    centre = _effects((what, r, w) for (what, _), (r, w) in residuals.items())
    nodes = _effects((i, r - centre[what], w) for (what, i), (r, w) in residuals.items())
    works = _effects((what, r - nodes[i], w) for (what, i), (r, w) in residuals.items())
    return {what: math.exp(v) for what, v in works.items()}, {i: math.exp(v) for i, v in nodes.items()}


def _effects(rows: Iterable[tuple[object, float, float]]) -> Mapping:  # type: ignore[type-arg]
    sums: dict[object, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for key, value, weight in rows:
        sums[key][0] += weight * value
        sums[key][1] += weight
    return {key: total / (weight + PAIRS) for key, (total, weight) in sums.items()}
