"""The limit of frames under way, on a line of servers that is offered more than it can do."""

import heapq
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.gateway.limit import Limit


def line(limit: Limit, stages: list[float], frames: int, at: float = 0.0) -> Iterator[float]:
    """Yield each frame's latency, ms: always another one waits; *stages*: what each server takes for a frame, ms."""
    free = [at] * len(stages)
    under_way: list[tuple[float, float]] = []  # (end, begin)
    now = at
    for _ in range(frames):
        while len(under_way) < limit.frames:
            end = now
            for i, ms in enumerate(stages):
                end = free[i] = max(end, free[i]) + ms
            heapq.heappush(under_way, (end, now))
        now, begun = heapq.heappop(under_way)
        limit.answered(now - begun, others_wait=True)
        yield now - begun


times = st.lists(st.floats(1.0, 100.0), min_size=1, max_size=5)


@settings(max_examples=60)
@given(times, st.floats(2.5, 50.0), st.integers(4, 64))
def test_frames_come_in_time_and_the_line_is_kept_busy(stages: list[float], slack: float, size: int) -> None:
    """slack: the bound over what a frame takes alone."""
    alone, slowest = sum(stages), max(stages)
    limit = Limit(size, slack * alone)
    list(line(limit, stages, 3000))
    latencies = list(line(limit, stages, 300, at=1e6))
    assert sum(ms <= slack * alone for ms in latencies) >= 0.95 * len(latencies)
    assert limit.frames >= min(size, int(0.8 * slack * alone / slowest) // 2)


@given(times, st.integers(1, 64))
def test_without_a_bound_the_window_is_the_limit(stages: list[float], size: int) -> None:
    limit = Limit(size, None)
    list(line(limit, stages, 50))
    assert limit.frames == size


@given(st.lists(st.tuples(st.floats(0, 1e6), st.booleans())), st.integers(1, 1024), st.floats(0.1, 1e5))
def test_it_stays_between_one_and_the_window(said: list[tuple[float, bool]], size: int, bound_ms: float) -> None:
    limit = Limit(size, bound_ms)
    for latency_ms, others_wait in said:
        limit.answered(latency_ms, others_wait=others_wait)
        assert 1 <= limit.frames <= size


def test_one_late_frame_is_one_cut() -> None:
    """Those that were under way with it come late too, and say nothing new."""
    limit = Limit(16, 100.0)
    list(line(limit, [5.0], 400))
    before = limit.frames
    for _ in range(before):
        limit.answered(160.0, others_wait=True)
    assert limit.frames == pytest.approx(before / 2, abs=1.5)


def test_nobody_waits_nothing_grows() -> None:
    limit = Limit(16, 100.0)
    for _ in range(50):
        limit.answered(1.0, others_wait=False)
    assert limit.frames == 2
