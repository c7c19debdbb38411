"""What a stateful handler gets: sequence order, each frame once, whatever comes late or twice."""

import random

from hypothesis import given
from hypothesis import strategies as st

from node.gateway.window import OpenFrame, Window
from node.worker.order import Memory, Turnstile
from wire.messages import Delivery
from wire.packet import EmptyPart


def test_frames_in_order_go_through_at_once() -> None:
    gate = Turnstile[str](bound=8)
    assert gate.offer(0, None, 0, "f0") == ["f0"]
    assert gate.offer(1, 0, 0, "f1") == ["f1"]
    assert gate.offer(2, None, 2, "f2") == ["f2"]


def test_a_frame_waits_for_a_lower_one_that_is_open() -> None:
    gate = Turnstile[str](bound=8)
    assert gate.offer(5, 4, 4, "f5") == []
    assert gate.offer(4, None, 4, "f4") == ["f4", "f5"]


def test_nobody_waits_for_a_number_that_was_never_sent() -> None:
    """2 was dropped before it had a place in the window (live)."""
    gate = Turnstile[str](bound=8)
    assert gate.offer(1, None, 1, "f1") == ["f1"]
    assert gate.offer(3, 1, 1, "f3") == ["f3"]


def test_nobody_waits_for_what_is_settled() -> None:
    gate = Turnstile[str](bound=8)
    assert gate.offer(0, None, 0, "f0") == ["f0"]
    assert gate.offer(3, 2, 1, "f3") == []
    assert gate.offer(4, 3, 3, "f4") == ["f3", "f4"], "1 and 2 failed, which the entry's next frame tells"


def test_a_new_process_begins_with_the_lowest_open_frame() -> None:
    gate = Turnstile[str](bound=8)
    assert gate.offer(9, 8, 7, "f9") == []
    assert gate.offer(7, None, 7, "f7") == ["f7"]
    assert gate.offer(8, 7, 7, "f8") == ["f8", "f9"]


def test_a_frame_goes_through_once() -> None:
    gate = Turnstile[str](bound=8)
    assert gate.offer(0, None, 0, "f0") == ["f0"]
    assert gate.offer(0, None, 0, "again") is None
    assert gate.offer(2, 1, 1, "f2") == []
    assert gate.offer(2, 1, 1, "f2 again") == [], "the one that waits is replaced"
    assert gate.offer(1, None, 1, "f1") == ["f1", "f2 again"]


def test_at_most_so_many_wait() -> None:
    gate = Turnstile[int](bound=2)
    assert [gate.offer(n, n - 1, 0, n) for n in (1, 2)] == [[], []]
    assert gate.offer(3, 2, 0, 3) == [1, 2, 3], "the lowest gives in, and what follows it goes with it"
    assert gate.offer(0, None, 0, 0) is None


def test_those_who_wait_are_forgotten_with_their_epoch_and_no_others() -> None:
    gate = Turnstile[str](bound=8)
    gate.offer(5, 4, 4, "old f5")
    gate.offer(6, 5, 4, "f6")
    gate.forget(lambda frame: frame.startswith("old"))
    assert len(gate) == 1
    assert gate.offer(4, None, 4, "f4") == ["f4"]
    assert gate.offer(5, 4, 4, "f5") == ["f5", "f6"]


class Way:
    """An entry's open frames and a way that re-orders, repeats and loses what it sends."""

    def __init__(self, rng: random.Random, window: int) -> None:
        self.window, self.packets, self._rng = Window(window, Delivery.LIVE), list[tuple[int, int | None, int]](), rng

    def send(self, sequence: int) -> None:
        part = EmptyPart(status="ok", ended_by=0)
        self.window.open.setdefault(sequence, OpenFrame(sequence, 0.0, 0.0, (), None, (part, []), frozenset()))
        horizon, previous = self.window.below(sequence)
        if self._rng.random() < 0.9:
            self.packets += [(sequence, previous, horizon)] * self._rng.choice([1, 1, 2])

    def arriving(self) -> tuple[int, int | None, int]:
        """Return any packet; when none is left all open frames are sent again."""
        while not self.packets:
            for sequence in sorted(self.window.open):
                self.send(sequence)
        return self.packets.pop(self._rng.randrange(len(self.packets)))


@given(st.integers(1, 40), st.integers(1, 8), st.randoms(use_true_random=False))
def test_whatever_the_way_does_each_frame_goes_once_and_in_order(frames: int, window: int, rng: random.Random) -> None:
    """Some numbers were dropped before they were sent; nobody waits for them, nor for ever."""
    gate, way, through = Turnstile[int](bound=window), Way(rng, window), list[int]()
    waiting = [n for n in range(frames) if rng.random() < 0.7]
    expected = list(waiting)
    for _ in range(1000 * frames):
        while waiting and not way.window.full:
            way.send(waiting.pop(0))
        if not way.window.open:
            break
        sequence, previous, horizon = way.arriving()
        for passed in gate.offer(sequence, previous, horizon, sequence) or []:
            through.append(passed)
            way.window.open.pop(passed, None)
    assert through == expected
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
