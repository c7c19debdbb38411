"""Who a face is: the rule of the nearest, and of pictures that are somebody else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from handlers.naming import Known

Vector = NDArray[np.float64]


def at(*places: float) -> Vector:
    """Return vectors on a line: distances are differences."""
    return np.array([[place, 0.0] for place in places])


FACE = np.array([0.0, 0.0])


def rounded(found: tuple[str | None, float | None]) -> tuple[str | None, float | None]:
    label, distance = found
    return label, None if distance is None else round(distance, 9)


@pytest.mark.parametrize(
    ("enrolled", "negatives", "named"),
    [
        ({"ada": 0.3, "bob": 0.4}, {}, ("ada", 0.3)),
        ({"ada": 0.3, "bob": 0.4}, {"ada": 0.2}, ("bob", 0.4)),  # the next best counts
        ({"ada": 0.3, "bob": 0.7}, {"ada": 0.2}, (None, 0.3)),  # who is too far away
        ({"ada": 0.3}, {"ada": 0.2}, (None, 0.3)),
        ({"ada": 0.3}, {"ada": 0.5}, ("ada", 0.3)),  # her own picture is nearer
        ({"ada": 0.3}, {"ada": -0.3}, ("ada", 0.3)),  # as near: she it is
        ({"ada": 0.3, "bob": 0.4, "eve": 0.5}, {"ada": 0.2, "bob": 0.2}, ("eve", 0.5)),
        ({"ada": 0.3, "bob": 0.4}, {"bob": 0.1}, ("ada", 0.3)),  # not Bob says nothing of Ada
        ({"ada": 0.3}, {"eve": 0.1}, ("ada", 0.3)),  # nor of who is not enrolled
        ({"ada": 0.7}, {"ada": 0.1}, (None, 0.7)),  # unknown anyway
        ({}, {"ada": 0.1}, (None, None)),
    ],
)
def test_a_person_whose_not_picture_is_nearer_is_passed_over(
    enrolled: dict[str, float], negatives: dict[str, float], named: tuple[str | None, float | None]
) -> None:
    known = Known(list(enrolled), at(*enrolled.values()).reshape(-1, 2), {n: at(v) for n, v in negatives.items()})
    assert rounded(known.name(FACE, 0.6)) == named


def test_all_pictures_of_a_person_count_on_both_sides() -> None:
    """One picture of hers that is nearer than every "not" is enough."""
    twice = Known(["ada", "bob", "ada"], at(0.3, 0.35, -0.1), {"ada": at(0.2, 0.5)})
    assert rounded(twice.name(FACE, 0.6)) == ("ada", 0.1)
    refuted = Known(["ada", "bob", "ada"], at(0.3, 0.35, -0.4), {"ada": at(0.5, 0.2)})
    assert rounded(refuted.name(FACE, 0.6)) == ("bob", 0.35)


def test_a_vector_that_is_no_number_is_nobody() -> None:
    assert Known(["ada"], at(0.3)).name(np.full(2, np.nan), 2.0)[0] is None


@given(seed=st.integers(0, 2**32 - 1), thresh=st.sampled_from([0.3, 1.0, 2.0]))
def test_it_is_the_rule_by_its_definition(seed: int, thresh: float) -> None:
    random = np.random.default_rng(seed)
    labels = [f"p{n}" for n in random.integers(0, 4, random.integers(1, 12))]
    matrix = random.normal(size=(len(labels), 3)) / 2
    negatives = {f"p{n}": random.normal(size=(random.integers(1, 4), 3)) / 2 for n in range(4) if random.random() < 0.5}
    face = random.normal(size=3) / 2

    def own(label: str) -> float:
        return min(float(np.linalg.norm(face - row)) for name, row in zip(labels, matrix, strict=True) if name == label)

    def refuted(label: str) -> bool:
        return any(float(np.linalg.norm(face - row)) < own(label) for row in negatives.get(label, ()))

    left = [label for label in set(labels) if own(label) <= thresh and not refuted(label)]
    expected = min(left, key=own, default=None)
    label, distance = Known(labels, matrix, negatives).name(face, thresh)
    assert label == expected
    assert distance == pytest.approx(min(map(own, labels)) if expected is None else own(expected))
