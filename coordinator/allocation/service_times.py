"""How long a handler computes on a node: what was measured, blended with what is expected without measurement.

expected(work, node) = profile(work) x factor(work) / speed(node)
    both learnt from ln(measured / profile) of every pair that was measured, shrunk towards 1 (see _learn)
    where the work has run for a while its usual time takes the place of profile x factor
estimate = Z measured + (1 - Z) expected,  Z = frames / (frames + K)   (Buhlmann 1967, credibility)
"""

from collections import defaultdict

import numpy as np

from coordinator.allocation.arrays import Floats, Ints, Nodes
from coordinator.allocation.base import Measured, Snapshot, Work, params_of
from coordinator.allocation.queueing import Value

CREDIBLE_FRAMES = 20.0  # K: with so many frames measured and expected count the same
PAIRS = 1.0  # a factor or a speed known from n pairs is believed by n / (n + PAIRS)
ALIKE_FRAMES = 200.0  # what the profile counts against measured frames where the scene to come is meant
UNKNOWN_MS = 10.0  # nothing was said and nothing was measured anywhere


def credibility(frames: Value) -> Value:
    """Return Z, 0-1."""
    z: Value = frames / (frames + CREDIBLE_FRAMES)
    return z


class ServiceTimes:
    """Service times by work, as arrays over the nodes."""

    def __init__(self, nodes: Nodes, snapshot: Snapshot) -> None:
        self._nodes, self._types, self._usual = nodes, snapshot.types, snapshot.usual
        self._by_work: dict[Work, list[tuple[int, Measured]]] = defaultdict(list)
        for (what, node_id), time in snapshot.times.items():
            if node_id in nodes.index and time.frames > 0:
                self._by_work[what].append((nodes.index[node_id], time))
        works = list(self._by_work)
        rows = [(w, i, t.ms, t.frames) for w, what in enumerate(works) for i, t in self._by_work[what]]
        table: Floats = np.array(rows, float).reshape(-1, 4)
        work, node = table[:, :2].astype(np.intp).T
        profile: Floats = np.array([self._profile(what) for what in works])[work]
        residuals = np.log(np.maximum(table[:, 2], 1e-3) / profile)
        factors, self.slowness = _learn(work, len(works), node, len(nodes), residuals, credibility(table[:, 3]))
        self._factor = dict(zip(works, factors.tolist(), strict=True))

    def expected(self, what: Work) -> Floats:
        """Return ms per frame on each node, measurements of just that pair left out."""
        ms: Floats = self.slowness * (self._profile(what) * self._factor_of(what))
        return ms

    def estimate(self, what: Work) -> tuple[Floats, Floats]:
        """Return ms per frame on each node, and the confidence Z (0-1) of each."""
        ms, confidence = self.expected(what), np.zeros(len(self._nodes))
        for i, time in self._by_work.get(what, ()):
            z = credibility(time.frames)
            ms[i], confidence[i] = z * time.ms + (1 - z) * ms[i], z
        return ms, confidence

    def ordinary(self, what: Work) -> Floats:
        """Return ms per frame on each node over all that may be on the pictures: the mean of all nodes that measured
        it, each by its slowness, and the profile. Frames that follow each other are alike: a few seconds of a few
        sessions say little of what comes.
        """
        found = self._by_work.get(what, ())
        frames = ALIKE_FRAMES + sum(time.frames for _, time in found)
        total = sum(time.frames * time.ms / float(self.slowness[i]) for i, time in found)
        ms: Floats = self.slowness * ((total + ALIKE_FRAMES * self._said(what)) / frames)
        return ms

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
        return self._said(what)

    def _said(self, what: Work) -> float:
        """Return ms of an ordinary node by the type's profile."""
        view = self._types.get(what[0])
        return (view.given(params_of(what)).service_ms if view else None) or UNKNOWN_MS


def _learn(work: Ints, works: int, node: Ints, nodes: int, residuals: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the factor of each work and the slowness (1 / speed) of each node, from a two-way additive model of
    ln(measured / profile): `residuals`, one per pair that was measured, with its weight 0-1.

    One pass of backfitting: nodes first (against the mean of each work), then works (against their nodes).
    """
    centre = _effects(work, works, residuals, weights)
    by_node = _effects(node, nodes, residuals - centre[work], weights)
    by_work = _effects(work, works, residuals - by_node[node], weights)
    return np.exp(by_work), np.exp(by_node)


def _effects(groups: Ints, count: int, values: Floats, weights: Floats) -> Floats:
    """Return the weighed mean of each group's values, shrunk towards 0; 0 where there is none."""
    sums = np.bincount(groups, weights * values, count)
    shrunk: Floats = sums / (np.bincount(groups, weights, count) + PAIRS)
    return shrunk
