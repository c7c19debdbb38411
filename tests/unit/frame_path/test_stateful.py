"""A stateful handler's loop: order and once, whatever the way does; a repeat gets what was given the first time."""

import time
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from handlers.base import Handler, Params
from handlers.types import Image
from node.transport.channel import Inbox
from node.transport.routing import Routing
from node.worker.execution import Job
from node.worker.lending import Lender
from node.worker.outgoing import Outgoing
from node.worker.stateful import InOrder
from tests.unit.frame_path.conftest import Place
from tests.unit.frame_path.stage import PATIENCE_S, Stage, fan_out, picture, received, staged
from tests.unit.frame_path.test_graph import PORTS
from wire.messages import PacketEvent
from wire.packet import EmptyPart, decode


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


def begin(stage: Stage) -> Inbox:
    """Start the loop; return the inbox behind it."""
    inbox = stage.downstream(2)
    stage.handler.prepare()
    stage.loop.start()
    return inbox


def give(stage: Stage, given: Sequence[tuple[int, int | None, int]], epoch: int = 1) -> None:
    """Give (sequence, previous, horizon), value = sequence."""
    for sequence, previous, horizon in given:
        stage.give(picture(sequence, sequence, previous=previous, horizon=horizon, epoch=epoch))


def taken(inbox: Inbox, answers: int) -> list[tuple[int, int | str | None]]:
    """Return (sequence, what came) of the next *answers*."""
    found = []
    for _ in range(answers):
        packet = received(inbox)
        part = packet.header.payload
        what = part.reason if isinstance(part, EmptyPart) else int(np.frombuffer(packet.buffers[0], np.uint8)[0])
        found.append((packet.header.sequence, what))
    return found


def wait_until_received(stage: Stage, packets: int) -> None:
    """Wait until the handler's process has had so many since the start."""
    deadline, count = time.monotonic() + PATIENCE_S, 0
    while count < packets:
        assert time.monotonic() < deadline, f"{count} of {packets} packets"
        telemetry = stage.recorder.take()
        count += sum(p.event is PacketEvent.RECV for p in telemetry.packets) if telemetry else 0
        time.sleep(0.01)


def counts(
    stage: Stage, given: Sequence[tuple[int, int | None, int]], answers: int
) -> list[tuple[int, int | str | None]]:
    """Give as above; return what came of the first *answers*."""
    inbox = begin(stage)
    give(stage, given)
    return taken(inbox, answers)


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


def test_a_plan_that_ends_an_epoch_takes_only_frames_of_that_from_those_who_wait(place: Place) -> None:
    """The entry sends again what is of the older epoch, and nothing else."""
    plan = msgspec.structs.replace(fan_out(2), epoch=2, accept_from=1)
    with staged(place, plan, Counter) as stage:
        inbox = begin(stage)
        give(stage, [(0, None, 0)])
        assert taken(inbox, 1) == [(0, 1)]
        give(stage, [(2, 1, 0)])
        give(stage, [(3, 2, 0)], epoch=2)
        wait_until_received(stage, 3)
        stage.routing = Routing(msgspec.structs.replace(plan, accept_from=2), 1, PORTS)
        give(stage, [(1, 0, 0), (2, 1, 0)], epoch=2)
        assert taken(inbox, 3) == [(1, 2), (2, 3), (3, 4)]


def test_what_comes_too_late_is_dropped_and_says_so(place: Place) -> None:
    """The entry had settled 0 when it sent 1."""
    with staged(place, fan_out(2), Counter) as stage:
        assert counts(stage, [(1, None, 1), (0, None, 0), (2, 1, 1)], 3) == [(1, 1), (0, "out_of_order"), (2, 2)]
        assert seen(stage) == [1, 2]


def test_a_sender_that_says_nothing_of_open_frames_is_waited_for_in_no_case(place: Place) -> None:
    with staged(place, fan_out(2), Counter) as stage:
        assert counts(stage, [(0, None, 0), (5, None, 0)], 2) == [(0, 1), (5, 2)]


def test_a_frame_that_is_sent_again_while_it_waits_for_its_batch_goes_on_as_what_is_welcome(place: Place) -> None:
    with staged(place, fan_out(2), Counter) as stage:
        order = InOrder(stage.link, Outgoing(stage.link, Lender(stage.link)), window=4)
        first, again = (
            Job(stage.routing, decode(memoryview(b"".join(picture(0, 0, epoch=epoch)))).header, [], [], 0.0, 0)
            for epoch in (1, 2)
        )
        assert order.turn(first) == [first]
        assert order.turn(again) == [], "it is executed once"
        assert first.header.epoch == 2
