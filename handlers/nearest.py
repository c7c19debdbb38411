"""The nearest of many vectors: one matrix product in single precision, then the few that may be it in double.

|m - v|^2 = |m|^2 - 2 m.v + |v|^2, and |v|^2 is the same for all. Single precision halves the bytes that the product
reads, which is what it costs. The bound of its error (Higham, Accuracy and Stability of Numerical Algorithms, 3.1:
|fl(m.v) - m.v| <= n u |m||v| to first order) tells which vectors may be nearest, so the answer is the exact one.
"""

import numpy as np
from numpy.typing import NDArray

UNIT = 2.0**-24  # unit roundoff of single precision


class Nearest:
    """Looks among the rows of a matrix, float64 (n, dim)."""

    def __init__(self, matrix: NDArray[np.float64]) -> None:
        self.matrix = matrix
        self._single = matrix.astype(np.float32)
        squares = np.einsum("ij,ij->i", matrix, matrix)
        self._squares = squares.astype(np.float32)
        self._longest = float(np.sqrt(squares.max(initial=0.0)))

    def find(self, vector: NDArray[np.float64], allowed: NDArray[np.bool_] | None = None) -> tuple[int, float] | None:
        """Return the first of the rows nearest to *vector*, float64 (dim,), and its Euclidean distance, in double.

        allowed: bool (n,), which rows count; None where no row does.
        """
        if len(self.matrix) == 0 or (allowed is not None and not allowed.any()):
            return None
        rows = self.candidates(vector) if allowed is None else np.flatnonzero(allowed)
        distances = np.linalg.norm(self.matrix[rows] - vector, axis=1)  # as face_recognition.face_distance
        best = int(np.argmin(distances))
        return int(rows[best]), float(distances[best])

    def candidates(self, vector: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the rows that may be nearest, in order: all, where single precision says nothing."""
        estimates = self._squares - 2 * (self._single @ vector.astype(np.float32))
        length = float(np.linalg.norm(vector))
        terms = self.matrix.shape[1] + 8  # of the sum, and the roundings around it
        error = 2 * terms * UNIT * self._longest * (self._longest + 2 * length)
        rows = np.flatnonzero(estimates <= estimates.min() + 2 * error)
        return rows if len(rows) else np.arange(len(self.matrix))
