"""What a stateful handler gets: sequence order, each frame once, whatever comes late or twice."""

import random

from hypothesis import given
from hypothesis import strategies as st

from node.worker.order import Memory, Turnstile


def test_frames_in_order_go_through_at_once() -> None:
    gate = Turnstile[str](bound=8)
    assert [gate.offer(n, n, f"f{n}") for n in range(3)] == [["f0"], ["f1"], ["f2"]]


def test_a_frame_waits_for_a_lower_one_that_is_open() -> None:
    gate = Turnstile[str](bound=8)
    assert gate.offer(5, 4, "f5") == []
    assert gate.offer(4, 4, "f4") == ["f4", "f5"]


def test_nobody_waits_for_what_is_settled() -> None:
    gate = Turnstile[str](bound=8)
    assert gate.offer(0, 0, "f0") == ["f0"]
    assert gate.offer(3, 1, "f3") == []
    assert gate.offer(4, 3, "f4") == ["f3", "f4"], "1 and 2 were dropped, which the entry's next frame tells"


def test_a_new_process_begins_with_the_lowest_open_frame() -> None:
    gate = Turnstile[str](bound=8)
    assert gate.offer(9, 7, "f9") == []
    assert [gate.offer(n, 7, f"f{n}") for n in (7, 8)] == [["f7"], ["f8", "f9"]]


def test_a_frame_goes_through_once() -> None:
    gate = Turnstile[str](bound=8)
    assert gate.offer(0, 0, "f0") == ["f0"]
    assert gate.offer(0, 0, "again") is None
    assert gate.offer(2, 1, "f2") == []
    assert gate.offer(2, 1, "f2 again") == [], "the one that waits is replaced"
    assert gate.offer(1, 1, "f1") == ["f1", "f2 again"]


def test_at_most_so_many_wait() -> None:
    gate = Turnstile[int](bound=2)
    assert [gate.offer(n, 0, n) for n in (1, 2)] == [[], []]
    assert gate.offer(3, 0, 3) == [1, 2, 3], "the lowest gives in, and what follows it goes with it"
    assert gate.offer(0, 0, 0) is None


def test_those_who_wait_are_forgotten_with_their_epoch() -> None:
    gate = Turnstile[str](bound=8)
    gate.offer(5, 4, "f5")
    gate.forget()
    assert len(gate) == 0
    assert gate.offer(4, 4, "f4") == ["f4"]


@given(st.integers(1, 40), st.integers(1, 8), st.randoms(use_true_random=False))
def test_whatever_the_way_does_each_frame_goes_once_and_in_order(frames: int, window: int, rng: random.Random) -> None:
    """An entry with a window, a way that re-orders and repeats; some frames are settled without ever coming."""
    gate, through, open_, sent = Turnstile[int](bound=2 * window), list[int](), list[int](), 0
    on_the_way: list[tuple[int, int]] = []
    lost = {n for n in range(frames) if rng.random() < 0.2}
    while sent < frames or open_:
        while sent < frames and len(open_) < window:
            open_.append(sent)
            if sent not in lost:
                on_the_way += [(sent, open_[0])] * rng.choice([1, 1, 2])
            sent += 1
        open_ = [n for n in open_ if n not in through and n not in lost]
        if not on_the_way:
            on_the_way = [(n, open_[0]) for n in open_]  # the entry sends again
        if on_the_way:
            sequence, horizon = on_the_way.pop(rng.randrange(len(on_the_way)))
            through += gate.offer(sequence, horizon, sequence) or []
    assert through == [n for n in range(frames) if n not in lost]
    assert len(gate) == 0


def test_memory_is_bounded_in_frames_and_bytes() -> None:
    memory = Memory[str](frames=3, size=100)
    for n in range(4):
        memory.keep(n, f"v{n}", 10)
    assert [memory.get(n) for n in range(4)] == [None, "v1", "v2", "v3"]
    memory.keep(4, "v4", 90)
    assert [memory.get(n) for n in range(5)] == [None, None, None, "v3", "v4"]
    memory.keep(5, "v5", 101)
    assert memory.get(5) is None
