"""Pictures are made in the memory of the next inbox; whatever a plug-in does with it, no slot and no frame is lost."""

import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from handlers.base import FrameError, Handler, Params
from handlers.types import Image
from node.transport.addresses import handler_depth
from node.transport.channel import Outlet, Slot
from node.worker.lending import Lender, header_room
from tests.unit.frame_path.conftest import Place
from tests.unit.frame_path.stage import PATIENCE_S, SESSION, fan_out, picture, received, staged
from wire.messages import PacketEvent, Route
from wire.packet import COMMON_ROOM, EmptyPart, Header, ImagePart, Span, encode_head

SIDES = (4, 40, 400, 4, 1200, 3, 40)  # a camera that comes back with other frame sizes


class Filler(Handler[Params]):
    """Gives a picture of its input's size and one more than its value, made in the memory it asked for."""

    inputs, outputs = (Image,), (Image,)
    made: NDArray[np.uint8]

    def execute(self, *inputs: Any) -> Any:
        self.made = self.output(inputs[0].shape)
        self.made[:] = inputs[0] + 1
        return self.made


class Whimsical(Filler):
    """Does with its memory what the first pixel says."""

    def execute(self, *inputs: Any) -> Any:
        out = super().execute(*inputs)
        match int(inputs[0][0, 0, 0]):
            case 1:
                raise FrameError("not this one")
            case 2:
                return inputs[0]
            case 3:
                return out.copy()
            case 4:
                self.output((2, 2, 3))
                return out
            case 5:
                return out[::2]
            case _:
                return out


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the slots that were loaned at sending, so filled by a copy; those of the handler's memory are not."""
    found: list[int] = []
    loan, output = Outlet.loan, Lender.output
    lending: list[bool] = []

    def lend(self: Lender, shape: tuple[int, int, int], port: int) -> Image:
        lending.append(True)
        try:
            return output(self, shape, port)
        finally:
            lending.clear()

    def count(self: Outlet, size: int) -> Slot | None:
        if not lending and "/handler/1" not in self.address:
            found.append(size)
        return loan(self, size)

    monkeypatch.setattr(Lender, "output", lend)
    monkeypatch.setattr(Outlet, "loan", count)
    return found


def test_a_picture_goes_to_the_next_handler_without_a_copy_whatever_its_size(place: Place, copies: list[int]) -> None:
    with staged(place, fan_out(2), Filler) as stage:
        inbox = stage.downstream(2)
        stage.loop.start()
        for sequence, side in enumerate(SIDES):
            stage.give(picture(sequence, 10 + sequence, side))
            arrived = received(inbox)
            assert (arrived.header.sequence, arrived.header.handler_id) == (sequence, 2)
            assert arrived.header.payload == ImagePart(shape=(side, side, 3), buffer=0)
            assert arrived.header.buffers[0][0] % 64 == 0
            assert set(bytes(arrived.buffers[0])) == {11 + sequence}
            assert [s.handler_id for s in arrived.header.trace] == [1]
            del arrived
        assert not copies
        inbox.close()
        telemetry = stage.recorder.take()
    assert telemetry is not None
    sent = [p.size for p in telemetry.packets if p.event is PacketEvent.SENT]
    assert sent == [COMMON_ROOM + 3 * side * side for side in SIDES]


def test_several_targets_get_the_same_picture_the_first_without_a_copy(place: Place, copies: list[int]) -> None:
    with staged(place, fan_out(2, 3, 4), Filler) as stage:
        inboxes = [stage.downstream(h) for h in (2, 3, 4)]
        stage.loop.start()
        for sequence in range(20):
            stage.give(picture(sequence, sequence, 30))
            for inbox in inboxes:
                arrived = received(inbox)
                assert (arrived.header.sequence, set(bytes(arrived.buffers[0]))) == (sequence, {sequence + 1})
                del arrived
        assert len(copies) == 2 * 20
        for inbox in inboxes:
            inbox.close()


def test_memory_that_is_not_sent_is_given_back(place: Place) -> None:
    """More frames of each kind than an outlet lends slots."""
    with staged(place, fan_out(2), Whimsical) as stage:
        inbox = stage.downstream(2)
        stage.loop.start()
        for sequence in range(150):
            whim = sequence % 6 + 1
            stage.give(picture(sequence, whim, 20))
            arrived = received(inbox)
            assert arrived.header.sequence == sequence
            if whim == 1:
                assert arrived.header.payload == EmptyPart(status="failed", ended_by=1, reason="not this one")
            else:
                rows = 10 if whim == 5 else 20
                assert arrived.header.payload == ImagePart(shape=(rows, 20, 3), buffer=0)
                assert set(bytes(arrived.buffers[0])) == {whim if whim == 2 else whim + 1}
            del arrived
        outlet = stage.sender.outlet(SESSION, 2, 1)
        stage.handler.made = np.zeros((1, 1, 3), np.uint8)  # type: ignore[attr-defined]
        slots = [outlet.loan(100) for _ in range(16)]
        assert None not in slots
        del slots
        inbox.close()


def test_what_was_sent_cannot_be_written_any_more(place: Place) -> None:
    with staged(place, fan_out(2), Filler) as stage:
        inbox = stage.downstream(2)
        stage.loop.start()
        stage.give(picture(0, 1, 8))
        arrived = received(inbox)
        made = stage.handler.made  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="read-only"):
            made[0] = 0
        del arrived, made
        inbox.close()


def test_a_full_inbox_loses_no_picture(place: Place) -> None:
    """The receiver takes nothing until its inbox is full, then everything."""
    with staged(place, fan_out(2, window=1), Filler) as stage:
        inbox, depth = stage.downstream(2), handler_depth(stage.plan, 1)
        stage.loop.start()
        for sequence in range(depth + 3):
            stage.give(picture(sequence, sequence, 16))
        assert not stage.closing.wait(0.3)
        for sequence in range(depth + 3):
            arrived = received(inbox)
            assert (arrived.header.sequence, set(bytes(arrived.buffers[0]))) == (sequence, {sequence + 1})
            del arrived
        inbox.close()


def test_a_handler_elsewhere_or_an_exit_gets_plain_memory(place: Place) -> None:
    routes = {1: [Route(node_id=1, url="http://127.0.0.1:1")], 2: [Route(node_id=2, url="http://127.0.0.1:1")]}
    away = fan_out(2)
    away.routes.update(routes)
    for session in (away, fan_out()):
        with staged(place, session, Filler) as stage:
            stage.loop.start()
            stage.give(picture(0, 1, 8))
            deadline = time.monotonic() + PATIENCE_S
            while not stage.progress.read().frames and time.monotonic() < deadline:
                time.sleep(0.01)
            assert stage.handler.made.flags.owndata  # type: ignore[attr-defined]


def test_the_room_is_enough_for_any_header() -> None:
    for spans in range(30):
        trace = [Span(2**31, 2**31, 0.5 + i, 0.5, 0.5, 2**31) for i in range(spans)]
        want = [(2**31, 2**31)] * 5
        header = Header(
            session_id=2**31, epoch=2**53, sequence=2**62, timestamp=0.5, origin=2**31, want=want, trace=trace
        )
        sent = Header(
            session_id=2**31,
            epoch=2**53,
            sequence=2**62,
            timestamp=0.5,
            origin=2**31,
            want=want,
            trace=[*trace, Span(2**31, 2**31, 0.5, 0.5, 0.5, 2**31)],
            payload=ImagePart(shape=(10000, 10000, 3), buffer=0),
            handler_id=2**31,
            port=2**31,
        )
        room = header_room(header, (10000, 10000, 3))
        assert len(encode_head(sent, [3 * 10**8], room)) == room
        assert room % 64 == 0
