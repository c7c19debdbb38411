"""The nearest vector by one product in single precision is the nearest in double, and few are looked at twice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from handlers.nearest import Nearest

Matrix = NDArray[np.float64]


def plain(matrix: Matrix, vector: Matrix) -> tuple[int, float]:
    """The same by the definition, in double."""
    distances = np.linalg.norm(matrix - vector, axis=1)
    return int(np.argmin(distances)), float(distances.min())


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 60),
    dim=st.sampled_from([1, 3, 128, 512]),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    spread=st.sampled_from([1e-9, 1e-6, 1e-3, 1.0]),
)
def test_it_is_the_nearest_in_double(seed: int, rows: int, dim: int, scale: float, spread: float) -> None:
    """Also where single precision cannot tell the rows apart: vectors that differ by a billionth of their length."""
    random = np.random.default_rng(seed)
    matrix = scale * (random.normal(size=dim) + spread * random.normal(size=(rows, dim)))
    vector = scale * (matrix[0] / scale + spread * random.normal(size=dim))
    row, distance = plain(matrix, vector)
    found = Nearest(matrix).find(vector)
    assert found is not None
    assert found[0] == row
    assert found[1] == pytest.approx(distance, rel=1e-12)


def test_of_equal_distances_the_first_is_taken() -> None:
    matrix = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    assert Nearest(matrix).find(np.array([1.0, 0.0])) == (1, 0.0)
    assert Nearest(matrix).find(np.array([0.0, 0.0])) == (0, 1.0)


def test_nobody_is_nearest_to_nobody() -> None:
    assert Nearest(np.empty((0, 512))).find(np.zeros(512)) is None


def test_a_vector_that_is_no_number_is_far_from_all() -> None:
    found = Nearest(np.eye(3)).find(np.full(3, np.nan))
    assert found is not None and not found[1] <= 2.0


def test_of_10_000_vectors_almost_all_are_left_to_the_product() -> None:
    """So the work in double, which copies rows, is that of a handful."""
    random = np.random.default_rng(7)
    matrix = random.normal(size=(10_000, 512))
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    vector = matrix[1234] + 0.02 * random.normal(size=512)
    known = Nearest(matrix)
    assert len(known.candidates(vector)) <= 3
    assert known.find(vector) == pytest.approx(plain(matrix, vector), rel=1e-12)
    stranger = random.normal(size=512) / np.sqrt(512)
    assert len(known.candidates(stranger)) < 100
    assert known.find(stranger) == pytest.approx(plain(matrix, stranger), rel=1e-12)
