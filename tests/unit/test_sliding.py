"""What a handler takes lately: soon true again after a change, and not of one frame alone."""

import pytest

from node.reporting.sliding import LEAST, OVER_S, SlidingMean

FLUSH_S = 0.5


def fed(*periods: tuple[float, float, int]) -> list[float | None]:
    """Return the mean after each flush of *periods*: (seconds, ms per frame, frames per flush)."""
    mean, at, count, total, found = SlidingMean(0.0), 0.0, 0, 0.0, list[float | None]()
    for seconds, ms, frames in periods:
        for _ in range(round(seconds / FLUSH_S)):
            at, count, total = at + FLUSH_S, count + frames, total + frames * ms
            mean.take(at, count, total)
            found.append(mean.value)
    return found


def test_a_change_is_all_there_is_after_the_period() -> None:
    found = fed((60.0, 100.0, 1), (OVER_S, 200.0, 1))
    half = found[-round(OVER_S / FLUSH_S / 2) - 1]
    assert found[-1] == pytest.approx(200.0)
    assert half is not None and half >= 140.0, "after half of it half is of the change"


def test_few_frames_reach_further_back() -> None:
    mean = SlidingMean(0.0)
    for n in range(1, 11):
        mean.take(10.0 * n, n, 100.0 * n)
    mean.take(110.0, 11, 1000.0 + 500.0)
    assert mean.value == pytest.approx((LEAST - 1) / LEAST * 100.0 + 500.0 / LEAST)


def test_nothing_new_changes_nothing() -> None:
    mean = SlidingMean(0.0)
    assert mean.value is None
    mean.take(1.0, 0, 0.0)
    assert mean.value is None
    mean.take(2.0, 3, 30.0)
    mean.take(500.0, 3, 30.0)
    assert mean.value == 10.0
