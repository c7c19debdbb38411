"""A stateful handler's loop: order and once, whatever the way does; a repeat gets what was given the first time."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from handlers.base import Handler, Params
from handlers.types import Image
from tests.unit.frame_path.conftest import Place
from tests.unit.frame_path.stage import Stage, fan_out, picture, received, staged
from wire.packet import EmptyPart


class Counter(Handler[Params]):
    """Image -> Image: its own count, in the memory it was lent."""

    inputs, outputs = (Image,), (Image,)
    stateful = True

    def prepare(self) -> None:
        self.seen: list[int] = []

    def execute(self, *inputs: Any) -> Any:
        self.seen.append(int(inputs[0][0, 0, 0]))
        out = self.output(inputs[0].shape)
        out[:] = len(self.seen)
        return out


def counts(
    stage: Stage, given: Sequence[tuple[int, int | None, int]], answers: int
) -> list[tuple[int, int | str | None]]:
    """Give (sequence, previous, horizon), value = sequence; return (sequence, what came) of the first *answers*."""
    inbox = stage.downstream(2)
    stage.handler.prepare()
    stage.loop.start()
    for sequence, previous, horizon in given:
        stage.give(picture(sequence, sequence, previous=previous, horizon=horizon))
    found = []
    for _ in range(answers):
        packet = received(inbox)
        part = packet.header.payload
        what = part.reason if isinstance(part, EmptyPart) else int(np.frombuffer(packet.buffers[0], np.uint8)[0])
        found.append((packet.header.sequence, what))
    return found


def seen(stage: Stage) -> list[int]:
    found: list[int] = stage.handler.seen  # type: ignore[attr-defined]
    return found


def test_frames_that_overtook_another_wait_for_it(place: Place) -> None:
    with staged(place, fan_out(2), Counter) as stage:
        assert counts(stage, [(1, 0, 0), (2, 1, 0), (0, None, 0), (3, None, 3)], 4) == [(0, 1), (1, 2), (2, 3), (3, 4)]
        assert seen(stage) == [0, 1, 2, 3]


def test_a_repeat_is_not_executed_but_answered_as_before(place: Place) -> None:
    with staged(place, fan_out(2), Counter) as stage:
        given = [(0, None, 0), (1, 0, 0), (0, None, 0), (1, 0, 0), (2, 1, 0)]
        assert counts(stage, given, 5) == [(0, 1), (1, 2), (0, 1), (1, 2), (2, 3)]
        assert seen(stage) == [0, 1, 2]


def test_what_comes_too_late_is_dropped_and_says_so(place: Place) -> None:
    """The entry had settled 0 when it sent 1."""
    with staged(place, fan_out(2), Counter) as stage:
        assert counts(stage, [(1, None, 1), (0, None, 0), (2, 1, 1)], 3) == [(1, 1), (0, "out_of_order"), (2, 2)]
        assert seen(stage) == [1, 2]


def test_a_sender_that_says_nothing_of_open_frames_is_waited_for_in_no_case(place: Place) -> None:
    with staged(place, fan_out(2), Counter) as stage:
        assert counts(stage, [(0, None, 0), (5, None, 0)], 2) == [(0, 1), (5, 2)]
