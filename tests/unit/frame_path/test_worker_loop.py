"""The main thread of a handler's process: no frame, no plug-in and no packet ends it."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handlers.base import Context, FrameError, Handler, Params
from handlers.types import Box, Boxes, Image
from node.addresses import GATEWAY, GATEWAY_DEPTH, handler_address, handler_depth
from node.channel import Inbox
from node.control import ChildSettings
from node.forward import Forwarder, put
from node.progress import ProgressFile
from node.recorder import Recorder
from node.routing import Routing
from node.worker.loop import FrameLoop, Link
from tests.unit.frame_path.conftest import Place
from tests.unit.frame_path.test_entry import plan
from tests.unit.frame_path.test_graph import PORTS
from wire import packet
from wire.packet import BoxesPart, EmptyPart, Header, ImagePart


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


def frame(sequence: int, wish: int) -> list[packet.Buffer]:
    header = Header(
        session_id=7,
        epoch=1,
        sequence=sequence,
        timestamp=0.0,
        origin=1,
        handler_id=1,
        payload=ImagePart(shape=(1, 1, 3), buffer=0),
    )
    return packet.encode(header, [bytes([wish]) * 3])


@pytest.fixture
def results(place: Place) -> Inbox:
    return place.channel.inbox(GATEWAY, GATEWAY_DEPTH)


def test_whatever_a_plugin_gives_each_frame_is_answered(place: Place, results: Inbox) -> None:
    session, closing, recorder = plan(window=4), threading.Event(), Recorder(1.0)
    routing = Routing(session, 1, PORTS)
    inbox = place.channel.inbox(handler_address(7, 1), handler_depth(session, 1))
    sender = Forwarder(place.channel, 1, recorder, None, closing, lambda: session)
    settings = ChildSettings(
        node_id=1, channel_name=place.name, run_path=str(place.path), max_frame_bytes=1 << 20, port_counts=PORTS
    )
    progress = ProgressFile(place.path / "progress", create=True)
    link = Link(7, 1, settings, lambda: routing, sender, recorder, progress, inbox)
    loop = threading.Thread(target=FrameLoop(link, Plugin(Params(), Context(Path())), closing).run)
    loop.start()
    try:
        assert put(sender.outlet(7, 1, 1), [b"noise that is no packet"])
        found = []
        for sequence in range(len(ANSWERS)):
            assert put(sender.outlet(7, 1, 1), frame(sequence, sequence))
            data = results.receive(5.0)
            assert data is not None, f"no answer to frame {sequence}"
            header = packet.decode(data).header
            assert header.sequence == sequence
            found.append(header.payload)
            del data
        assert loop.is_alive()
    finally:
        closing.set()
        loop.join(5)
        sender.close()
        inbox.close()
        results.close()
    assert isinstance(found[0], BoxesPart)
    assert found[1] == EmptyPart(status="ok", ended_by=1)
    assert found[2] == EmptyPart(status="failed", ended_by=1, reason="not this one")
    broken = [p for p in found[3:] if isinstance(p, EmptyPart)]
    assert [(p.status, p.broken) for p in broken] == [("failed", True)] * (len(ANSWERS) - 3)
    assert progress.read().sequence is None
    assert progress.read().frames == len(ANSWERS)
