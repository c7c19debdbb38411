"""Packets under way on one connection: whatever answers come, each goes again until its fate is known, in order."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.transport.pipeline import BYTES, DEPTH, Fate, Pipeline


def test_it_is_bounded_in_packets_and_bytes_but_for_the_first() -> None:
    pipeline: Pipeline[int] = Pipeline()
    assert pipeline.has_room(100 * BYTES)
    pipeline.sent(0, BYTES)
    assert not pipeline.has_room(1)
    pipeline.answered(202)
    for number in range(DEPTH):
        assert pipeline.has_room(1)
        pipeline.sent(number, 1)
    assert not pipeline.has_room(1)


def test_nothing_new_overtakes_what_was_refused() -> None:
    pipeline: Pipeline[str] = Pipeline()
    for name in "abc":
        pipeline.sent(name, 1)
    assert pipeline.answered(202) == ("a", Fate.TAKEN)
    assert pipeline.answered(503) == ("b", Fate.AGAIN)
    with pytest.raises(ValueError, match="refused go first"):
        pipeline.sent("d", 1)
    with pytest.raises(ValueError, match="outstanding"):
        pipeline.again()
    pipeline.cut()
    assert pipeline.again() == ["b", "c"]
    assert not pipeline.stopped


class Far:
    """The other side, which refuses what was sent behind a refused packet."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.refused = False

    def hear(self, item: int, status: int, *, follows: bool) -> int:
        if self.refused and follows:
            return 503
        self.refused = status != 202
        if status == 202:
            self.taken.append(item)
        return status


STEPS = st.tuples(st.sampled_from(["send", "hear", "cut"]), st.sampled_from([202, 202, 503, 404, 409]))


@given(st.lists(STEPS, max_size=80))
def test_every_packet_is_taken_in_order_or_lost(steps: list[tuple[str, int]]) -> None:
    """Answers of any kind and cuts at any moment: what is taken for the first time is taken in order, none is left out.

    After a cut the other side may have taken packets whose answers were lost: those come twice, as is allowed.
    """
    pipeline, far = Pipeline[int](), Far()
    wire: deque[int] = deque()  # statuses on their way back
    new, again, lost = deque(range(12)), deque[int](), set[int]()
    for step, status in [*steps, *[("send", 202), ("hear", 202)] * 40]:
        if pipeline.stopped and not len(pipeline):
            again.extendleft(reversed(pipeline.again()))
        if step == "cut":
            pipeline.cut()
            wire.clear()
            far.refused = False
        elif step == "hear" and wire:
            item, fate = pipeline.answered(wire.popleft())
            lost |= {item} if fate is Fate.LOST else set()
        elif step == "send" and (again or new) and not pipeline.stopped and pipeline.has_room(1):
            item, follows = (again or new).popleft(), len(pipeline) > 0
            wire.append(far.hear(item, status, follows=follows))
            pipeline.sent(item, 1)
    first = list(dict.fromkeys(far.taken))
    assert first == sorted(first)
    assert set(first) | lost == set(range(12))
