"""The gateway's threads together: sources, and an orderly end. The test is the agent and the handlers."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from handlers.base import Context, EndOfSource, Params, Source
from handlers.types import Image
from node.gateway.main import Gateway
from node.processes import control
from node.processes.progress import ProgressFile
from node.reporting.recorder import Recorder
from node.transport.addresses import handler_depth
from node.transport.channel import Inbox
from node.transport.forward import Forwarder
from node.transport.routing import Routing
from node.worker import source
from node.worker.link import Link
from node.worker.source import SourceLoop
from tests.unit.frame_path.conftest import Place
from tests.unit.frame_path.test_entry import PART, plan
from tests.unit.frame_path.test_graph import PORTS, SOURCE, STEP, graph
from wire import packet
from wire.messages import Entry, Route, SessionPlan
from wire.packet import EmptyPart, Header, Kind

SESSION, PATIENCE_S, FRAMES = 7, 5.0, 12
HERE = Route(node_id=1, url="http://127.0.0.1:1")


class Counter(Source[Params]):
    """Makes FRAMES pictures, each of its number."""

    outputs = (Image,)
    made = 0

    def read(self) -> Any:
        if self.made == FRAMES:
            raise EndOfSource
        self.made += 1
        return np.full((4, 4, 3), self.made, np.uint8)


@contextmanager
def gateway(place: Place, session: SessionPlan) -> Iterator[tuple[Gateway, Connection]]:
    """Yield a gateway that holds *session*, and the agent's end of its pipe."""
    ours, theirs = Pipe()
    settings = control.ChildSettings(
        node_id=1, channel_name=place.name, run_path=str(place.path), max_frame_bytes=1 << 20, port_counts=PORTS
    )
    control.send(ours, control.Attach(session_id=SESSION, plan=session, state="running"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Gateway(theirs, listener, settings)
        made.start()
        listening = threading.Thread(target=made.listen)
        listening.start()
        try:
            yield made, ours
        finally:
            control.send(ours, control.Shutdown(patience=0.0))
            listening.join(PATIENCE_S)
            made.close()
            listener.shutdown(socket.SHUT_RDWR)


def forwarder(place: Place, session: SessionPlan, closing: threading.Event) -> Forwarder:
    return Forwarder(place.channel, 1, Recorder(1.0), None, closing, lambda: session)


def inbox_of(place: Place, sender: Forwarder, session: SessionPlan, handler_id: int) -> Inbox:
    """Open the inbox that *sender* sends to."""
    return place.channel.inbox(sender.outlet(SESSION, handler_id, 1).address, handler_depth(session, 1))


def arrived(inbox: Inbox, timeout_s: float = PATIENCE_S) -> tuple[int, int] | None:
    """Return (sequence, first byte) of the next packet."""
    data = inbox.receive(timeout_s)
    if data is None:
        return None
    found = packet.decode(data)
    return found.header.sequence, found.buffers[0][0]


def finish(sender: Forwarder, session: SessionPlan, sequence: int, handler_id: int) -> None:
    """Report the frame as an exit does."""
    header = Header(
        kind=Kind.RESULT,
        session_id=SESSION,
        epoch=1,
        sequence=sequence,
        timestamp=0.0,
        origin=1,
        handler_id=handler_id,
        port=0,
        payload=EmptyPart(status="ok", ended_by=handler_id),
    )
    assert sender.to_entry(session, SESSION, packet.encode(header))


def said(pipe: Connection, kind: type[control.Message]) -> Any:
    """Return the next message of *kind*."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if pipe.poll(0.1):
            message = control.receive(pipe, control.from_child)
            if isinstance(message, kind):
                return message
    raise AssertionError(f"no {kind.__name__}")


def test_a_window_that_is_stuck_loses_no_frame_of_a_source_nor_its_end(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source offers the same frame again many times before there is room: it is one frame, and none is left out."""
    monkeypatch.setattr(source, "AGAIN_S", 0.02)
    steps = graph({1: SOURCE, 2: STEP}, "1>2")
    entry = Entry(node_id=1, url=HERE.url, key="k", handler_id=1)
    session = msgspec.structs.replace(
        plan(window=1), graph=steps, local=[1, 2], routes={1: [HERE], 2: [HERE]}, entry=entry, results=[]
    )
    closing, running = threading.Event(), threading.Event()
    running.set()
    sender, exits = forwarder(place, session, closing), forwarder(place, session, closing)
    credits, inbox = inbox_of(place, exits, session, 1), inbox_of(place, exits, session, 2)
    settings = control.ChildSettings(
        node_id=1, channel_name=place.name, run_path=str(place.path), max_frame_bytes=1 << 20, port_counts=PORTS
    )
    routing = Routing(session, 1, PORTS)
    progress = ProgressFile(place.path / "progress", create=True)
    link = Link(SESSION, 1, settings, lambda: routing, sender, Recorder(1.0), progress, credits, lambda *_: None)
    loop = threading.Thread(
        target=SourceLoop(link, Counter(Params(), Context(Path())), running, closing).run, daemon=True
    )
    with gateway(place, session) as (made, _):
        held = made.sessions.get(SESSION)
        assert held is not None
        assert held.entry is not None
        loop.start()
        for sequence in range(FRAMES):
            assert arrived(inbox) == (sequence, sequence + 1)
            assert arrived(inbox, 0.2) is None, "the window is full"
            finish(exits, session, sequence, 2)
        assert arrived(inbox, 0.3) is None
        books = held.entry.outcomes.read_books()
        assert (books.frames_in, books.delivered, books.dropped, held.entry.outcomes.source_ended) == (
            FRAMES,
            FRAMES,
            {},
            True,
        )
    with gateway(place, session) as (made, _):  # the first is gone, and with it what it had heard
        held = made.sessions.get(SESSION)
        assert held is not None
        assert held.entry is not None
        deadline = time.monotonic() + PATIENCE_S
        while not held.entry.outcomes.source_ended:
            assert time.monotonic() < deadline, "the next gateway never hears of the end"
            time.sleep(0.01)
        assert held.entry.outcomes.read_books().frames_in == 0
        closing.set()
        loop.join(PATIENCE_S)
    for end in (sender, exits, credits, inbox):
        end.close()


def test_a_handler_that_dies_during_the_drain_gets_its_frame_again(place: Place) -> None:
    session, closing = plan(window=2), threading.Event()
    sender = forwarder(place, session, closing)
    inbox = inbox_of(place, sender, session, 1)
    with gateway(place, session) as (made, agent):
        held = made.sessions.get(SESSION)
        assert held is not None
        assert held.entry is not None
        ticket = held.entry.admit(1.0)
        assert ticket is not None
        held.entry.open(ticket, (PART, [b"x"]), (), None)
        assert arrived(inbox) == (0, ord("x"))
        control.send(agent, control.Shutdown(patience=PATIENCE_S))
        control.send(agent, control.HandlerLost(session_id=SESSION, handler_id=1, blame=0))
        assert arrived(inbox) == (0, ord("x"))
        finish(sender, session, 0, 1)
        assert said(agent, control.Drained).in_flight == 0
    sender.close()
    inbox.close()


def test_a_session_that_cannot_be_held_leaves_the_others_alone(place: Place) -> None:
    """Its books have no place on the disk; the gateway says so, and holds it when there is one again."""
    session = plan(window=2)
    with gateway(place, session) as (made, agent):
        assert said(agent, control.Attached).failure is None
        (place.path / "books-8").mkdir()  # where a file belongs
        control.send(agent, control.Attach(session_id=8, plan=session, state="running"))
        assert said(agent, control.Attached).failure
        assert [s.session_id for s in made.sessions.all()] == [SESSION]
        (place.path / "books-8").rmdir()
        control.send(agent, control.Attach(session_id=8, plan=session, state="running"))
        assert said(agent, control.Attached).failure is None
