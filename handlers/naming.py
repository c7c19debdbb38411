"""Which known person a face is: the nearest enrolled vector, unless one that is not that person is nearer. Pure.

nearest label ─▶ too far? unknown ─▶ a "not" of that label nearer? ─▶ the next label, or unknown
                                                              └ no: that label
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from handlers.nearest import Nearest

Vector = NDArray[np.float64]


class Known:
    """Enrolled people and who they are not; never changes."""

    def __init__(self, labels: Sequence[str], matrix: Vector, negatives: Mapping[str, Vector] | None = None) -> None:
        """labels: of the rows of *matrix*, float64 (n, dim). negatives: label -> float64 (m, dim): "not" vectors."""
        self.labels, self.matrix = list(labels), matrix
        self._nearest = Nearest(matrix)
        self._negatives = {label: Nearest(rows) for label, rows in (negatives or {}).items()}
        self._column = np.array(self.labels, object)

    def name(self, vector: Vector, thresh: float) -> tuple[str | None, float | None]:
        """Return the label of *vector*, float64 (dim,), and its Euclidean distance to that label's nearest vector.

        A label is out where one of its "not" vectors is nearer than all its own; the next label counts then. Without
        a label within *thresh*: None, with the distance of the nearest of all (None where nobody is known). Of equal
        distances the person counts, then the first row.
        """
        first = found = self._nearest.find(vector)
        allowed: NDArray[np.bool_] | None = None
        while found is not None and found[1] <= thresh:
            label = self.labels[found[0]]
            if not self._refuted(label, vector, found[1]):
                return label, found[1]
            rest = self._column != label
            allowed = rest if allowed is None else allowed & rest
            found = self._nearest.find(vector, allowed)
        return None, None if first is None else first[1]

    def _refuted(self, label: str, vector: Vector, distance: float) -> bool:
        """Return whether a "not" vector of *label* is nearer than *distance*."""
        negatives = self._negatives.get(label)
        nearest = None if negatives is None else negatives.find(vector)
        return nearest is not None and nearest[1] < distance
