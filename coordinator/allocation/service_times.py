"""How long a handler computes on a node: what was measured, blended with what is expected without measurement.

expected(work, node) = profile(work) x factor(work) / speed(node)
    both learnt from ln(measured / profile) of every pair that was measured, shrunk towards 1 (see _learn)
    where the work has run for a while its usual time takes the place of profile x factor
estimate = Z measured + (1 - Z) expected,  Z = frames / (frames + K)   (Buhlmann 1967, credibility)
"""

from collections.abc import Sequence

import numpy as np

from coordinator.allocation.arrays import Floats, Ints, Nodes
from coordinator.allocation.base import Snapshot, Work, params_of
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
        at, times = nodes.index, snapshot.times
        found = [(what, at[node], t) for (what, node), t in times.items() if node in at and t.frames > 0]
        works = list(dict.fromkeys([what for what, _, _ in found]))
        self._row = dict(zip(works, range(len(works)), strict=True))
        rows: Ints = np.array([self._row[what] for what, _, _ in found], np.intp)
        by_work = np.argsort(rows, kind="stable")
        self._work = rows[by_work]
        self._node: Ints = np.array([node for _, node, _ in found], np.intp)[by_work]
        self._ms: Floats = np.array([t.ms for _, _, t in found], float)[by_work]
        self._frames: Floats = np.array([t.frames for _, _, t in found], float)[by_work]
        self._z = credibility(self._frames)
        profile: Floats = np.array([self._profile(what) for what in works], float)[self._work]
        residuals = np.log(np.maximum(self._ms, 1e-3) / profile)
        factors, self.slowness = _learn(self._work, len(works), self._node, len(nodes), residuals, self._z)
        self._factor = dict(zip(works, factors.tolist(), strict=True))

    def estimates(self, works: Sequence[Work]) -> tuple[Floats, Floats]:
        """Return ms per frame and the confidence Z (0-1), both (works, nodes). No work may be there twice."""
        said = np.array([self._profile(what) * self._factor_of(what) for what in works], float)
        ms = self.slowness * said[:, None]
        confidence = np.zeros(ms.shape)
        rows = np.full(len(self._row) + 1, -1)
        rows[[self._row.get(what, -1) for what in works]] = np.arange(len(works))
        rows = rows[self._work]
        asked = np.flatnonzero(rows >= 0)
        at, z = (rows[asked], self._node[asked]), self._z[asked]
        ms[at] = z * self._ms[asked] + (1 - z) * ms[at]
        confidence[at] = z
        return ms, confidence

    def ordinary(self, what: Work) -> Floats:
        """Return ms per frame on each node over all that may be on the pictures: the mean of all nodes that measured
        it, each by its slowness, and the profile. Frames that follow each other are alike: a few seconds of a few
        sessions say little of what comes.
        """
        found = np.flatnonzero(self._work == self._row.get(what, -1))
        counted = self._frames[found]
        frames = ALIKE_FRAMES + sum(counted.tolist())
        total = sum((counted * self._ms[found] / self.slowness[self._node[found]]).tolist())
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
        if view is not None and view.variations:
            view = view.given(params_of(what))
        return (view.service_ms if view else None) or UNKNOWN_MS


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
