"""How well vectors tell people apart: all pairs of faces, and the nearest other face of each. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pairs:
    """All pairs of faces: their Euclidean distances, float64 (n (n - 1) / 2,), and whether they are one person's."""

    distances: NDArray[np.float64]
    same: NDArray[np.bool_]

    def accuracy(self, threshold: float) -> float:
        """Return the share of pairs told right when up to *threshold* is one person."""
        return float(((self.distances <= threshold) == self.same).mean())

    def best(self) -> tuple[float, float]:
        """Return the best accuracy that any threshold gives, and the middle of the thresholds that give it."""
        order = np.argsort(self.distances, kind="stable")
        distances, same = self.distances[order], self.same[order]
        # with the first k pairs taken for one person's: right are the same ones among them and the others after them
        right = np.concatenate([[0], np.cumsum(same)]) + (~same).sum() - np.concatenate([[0], np.cumsum(~same)])
        edges = np.concatenate([[0.0], distances, distances[-1:]])
        possible = np.concatenate([[True], distances[1:] > distances[:-1], [True]])  # not between equal distances
        right = np.where(possible, right, -1)
        k = int(right.argmax())
        return float(right[k] / len(distances)), float((edges[k] + edges[k + 1]) / 2)


def pairs(vectors: NDArray[Any], people: Sequence[str]) -> Pairs:
    """Return all pairs of *vectors*, (n, dim), whose faces are those of *people*."""
    distances = _distances(vectors)
    upper = np.triu_indices(len(people), 1)
    names = np.array(people)
    return Pairs(distances[upper], names[upper[0]] == names[upper[1]])


def nearest(vectors: NDArray[Any], people: Sequence[str]) -> float:
    """Return the share of faces whose nearest other face is the same person's (those with one face left out)."""
    distances, names = _distances(vectors), np.array(people)
    np.fill_diagonal(distances, np.inf)
    several = np.array([Counter(people)[name] > 1 for name in people])
    return float((names[distances.argmin(axis=1)] == names)[several].mean())


def _distances(vectors: NDArray[Any]) -> NDArray[np.float64]:
    exact = np.asarray(vectors, np.float64)
    return np.asarray(np.linalg.norm(exact[:, None] - exact[None], axis=2))
