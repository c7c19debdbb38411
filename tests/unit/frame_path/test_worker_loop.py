"""The main thread of a handler's process: no frame, no plug-in and no packet ends it."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from handlers.base import FrameError, Handler, Params
from handlers.types import Box, Boxes, Image
from node.transport.routing import Routing
from node.worker.lending import Lender
from node.worker.outgoing import Outgoing
from tests.unit.frame_path.conftest import Place
from tests.unit.frame_path.stage import PATIENCE_S, Stage, fan_out, picture, received, staged
from tests.unit.frame_path.test_graph import PORTS
from wire import packet
from wire.packet import BoxesPart, EmptyPart, Header


class Plugin(Handler[Params]):
    """A user's handler that does what its first pixel says."""

    inputs, outputs = (Image,), (Boxes,)

    def execute(self, *inputs: Any) -> Any:
        return ANSWERS[int(inputs[0][0, 0, 0])]()


def refuse() -> Any:
    raise FrameError("not this one")


ANSWERS: list[Callable[[], Any]] = [
    lambda: [Box("a", 1.0, 0, 0, 1, 1)],
    lambda: None,
    refuse,
    lambda: 1 / 0,
    lambda: "text",
    lambda: [1, 2],
    lambda: np.zeros((4, 4), np.float32),
    lambda: np.zeros((0, 4, 3), np.uint8),
    lambda: [Box("\ud800", 1.0, 0, 0, 1, 1)],
]


def test_whatever_a_plugin_gives_each_frame_is_answered(place: Place) -> None:
    with staged(place, fan_out(), Plugin) as stage:
        stage.loop.start()
        stage.give([b"noise that is no packet"])
        found = []
        for sequence in range(len(ANSWERS)):
            stage.give(picture(sequence, sequence))
            header = received(stage.results).header
            assert header.sequence == sequence
            found.append(header.payload)
        assert stage.loop.is_alive()
        progress = stage.progress
    assert isinstance(found[0], BoxesPart)
    assert found[1] == EmptyPart(status="ok", ended_by=1)
    assert found[2] == EmptyPart(status="failed", ended_by=1, reason="not this one")
    broken = [p for p in found[3:] if isinstance(p, EmptyPart)]
    assert [(p.status, p.broken) for p in broken] == [("failed", True)] * (len(ANSWERS) - 3)
    assert (progress.read().sequence, progress.read().last) == (None, len(ANSWERS) - 1)
    assert progress.read().frames == len(ANSWERS)


class Batcher(Handler[Params]):
    """Takes up to four frames; value 9 breaks it, 8 is refused, 7 ends the frame. It waits for the test."""

    inputs, outputs = (Image,), (Boxes,)
    max_batch = 4

    def prepare(self) -> None:
        self.sizes: list[int] = []
        self.go = threading.Event()

    def execute(self, *inputs: Any) -> Any:
        value = int(inputs[0][0, 0, 0])
        if value == 9:
            raise ZeroDivisionError("nine")
        if value == 8:
            raise FrameError("eight")
        return None if value == 7 else [Box(str(value), 1.0, 0, 0, 1, 1)]

    def execute_batch(self, batch: list[tuple[Any, ...]]) -> list[Any]:
        self.go.wait(5)
        self.sizes.append(len(batch))
        return [self.execute(*inputs) for inputs in batch]


def batches(place: Place, values: list[int]) -> tuple[Batcher, list[Header], Stage]:
    """Give *values* at once to a batcher that has been through its cautious beginning; return what came of them."""
    with staged(place, fan_out(window=8), Batcher) as stage:
        handler = stage.handler
        assert isinstance(handler, Batcher)
        handler.prepare()
        stage.loop.start()
        for sequence in range(16):
            stage.give(picture(sequence, 1))
            received(stage.results)
        assert handler.sizes == [], "the first frames go alone"
        stage.recorder.take()
        stage.give(picture(16, 1))
        stage.give(picture(17, 1))
        for sequence, value in enumerate(values, 18):
            stage.give(picture(sequence, value))
        handler.go.set()
        headers = [received(stage.results).header for _ in range(2 + len(values))]
        return handler, headers, stage


def test_a_batch_is_what_waits_up_to_the_bound(place: Place) -> None:
    handler, headers, stage = batches(place, [1, 2, 3, 4, 5, 6])
    assert [h.sequence for h in headers] == list(range(16, 24))
    labels = [h.payload.boxes[0].label for h in headers if isinstance(h.payload, BoxesPart)]
    assert labels == ["1", "1", "1", "2", "3", "4", "5", "6"]
    assert max(handler.sizes) == 4
    assert stage.progress.read().frames == 16 + 8
    telemetry = stage.recorder.take()
    assert telemetry is not None
    assert telemetry.frames == 8
    events = Counter((p.sequence, p.event) for p in telemetry.packets)
    assert set(events.values()) == {1}
    assert len(events) == 4 * 8
    for header in headers:
        (span,) = header.trace
        assert span.received <= span.start <= span.end


def test_one_bad_frame_of_a_batch_fails_alone(place: Place) -> None:
    _, headers, _ = batches(place, [2, 9, 3, 8, 7, 4])
    said = [(h.payload.status, h.payload.broken) if isinstance(h.payload, EmptyPart) else "boxes" for h in headers]
    assert said == ["boxes"] * 3 + [("failed", True), "boxes", ("failed", False), ("ok", False), "boxes"]


def test_a_frame_that_came_before_its_plan_goes_by_that_plan(place: Place) -> None:
    """Its entry knew the plan sooner than this process, which learned of it while it worked."""
    older = fan_out(2)
    newer = msgspec.structs.replace(fan_out(3), epoch=2, accept_from=2)
    with staged(place, older, Plugin) as stage:
        inbox = stage.downstream(3)
        stage.plan = newer
        link = replace(stage.link, routing=lambda: Routing(newer, 1, PORTS))
        header = msgspec.structs.replace(packet.decode(memoryview(b"".join(picture(5, 0)))).header, epoch=2)
        Outgoing(link, Lender(link)).send(Routing(older, 1, PORTS), header, [], [])
        assert received(inbox).header.sequence == 5
        inbox.close()


def test_frames_that_went_by_an_older_plan_are_told_of_when_it_is_over(place: Place) -> None:
    """They went to handler 2, and the newer plan has handler 3; while the older one is welcome, 2 has them still."""
    plans = [fan_out(2), *(msgspec.structs.replace(fan_out(3), epoch=3, accept_from=accept) for accept in (1, 3))]
    with staged(place, plans[0], Plugin) as stage:
        inbox, known = stage.downstream(2), [Routing(plans[0], 1, PORTS)]
        link = replace(stage.link, routing=lambda: known[-1])
        outgoing = Outgoing(link, Lender(link))
        for sequence in (6, 5):
            header = msgspec.structs.replace(packet.decode(memoryview(b"".join(picture(sequence, 0)))).header, epoch=3)
            outgoing.send(known[0], header, [], [])
            assert received(inbox).header.sequence == sequence
        told = []
        for routing in (known[0], *(Routing(plan, 1, PORTS) for plan in plans[1:])):
            known.append(routing)
            outgoing.look_back()
            told.append(list(stage.astray))
        assert told == [[], [], [(3, 6)]]
        outgoing.look_back()
        assert stage.astray == [(3, 6)], "once"
        inbox.close()


def test_the_loop_looks_back_when_nothing_comes(place: Place) -> None:
    older, newer = fan_out(2), msgspec.structs.replace(fan_out(3), epoch=2, accept_from=2)
    with staged(place, older, Plugin) as stage:
        inbox = stage.downstream(2)
        stage.loop.start()
        header = msgspec.structs.replace(packet.decode(memoryview(b"".join(picture(5, 0)))).header, epoch=2)
        stage.give(packet.encode(header, [bytes(3)]))
        assert received(inbox).header.sequence == 5
        stage.routing = Routing(newer, 1, PORTS)
        deadline = time.monotonic() + PATIENCE_S
        while not stage.astray and time.monotonic() < deadline:
            time.sleep(0.01)
        assert stage.astray == [(2, 5)]
        inbox.close()
