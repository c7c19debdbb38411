"""A handler's main loop with real shared memory, in a thread of the test, which plays its neighbours."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from handlers.base import Context, Handler, Params
from node.processes.control import ChildSettings
from node.processes.progress import ProgressFile
from node.reporting.recorder import Recorder
from node.transport.addresses import GATEWAY, GATEWAY_DEPTH, GATEWAY_SENDERS, handler_address, handler_depth
from node.transport.channel import Inbox
from node.transport.forward import Forwarder
from node.transport.routing import Routing
from node.worker.link import Link
from node.worker.loop import FrameLoop
from tests.unit.frame_path.conftest import Place
from tests.unit.frame_path.test_entry import plan
from tests.unit.frame_path.test_graph import PORTS, STEP, graph
from wire import packet
from wire.messages import Route, SessionPlan
from wire.packet import Header, ImagePart, Packet

SESSION, PATIENCE_S = 7, 5.0


def fan_out(*targets: int, window: int = 4) -> SessionPlan:
    """Return the plan of handler 1 with links to *targets*, all on node 1; exits are theirs."""
    steps = graph(dict.fromkeys((1, *targets), STEP), " ".join(f"1>{t}" for t in targets))
    routes = {h: [Route(node_id=1, url="http://127.0.0.1:1")] for h in (1, *targets)}
    return msgspec.structs.replace(plan(window), graph=steps, local=[1, *targets], routes=routes, results=[])


def picture(
    sequence: int, value: int, side: int = 1, *, previous: int | None = None, horizon: int = 0, epoch: int = 1
) -> list[packet.Buffer]:
    """Return a packet for handler 1: a picture of *value* alone."""
    header = Header(
        session_id=SESSION,
        epoch=epoch,
        sequence=sequence,
        timestamp=0.0,
        origin=1,
        handler_id=1,
        port=0,
        payload=ImagePart(shape=(side, side, 3), buffer=0),
        previous=previous,
        horizon=horizon,
    )
    return packet.encode(header, [bytes([value]) * (3 * side * side)])


@dataclass
class Stage:
    """Handler 1 of a session, between the inboxes that the test holds."""

    place: Place
    plan: SessionPlan
    handler: Handler[Any]
    closing: threading.Event = field(default_factory=threading.Event)
    recorder: Recorder = field(default_factory=lambda: Recorder(1.0))

    def __post_init__(self) -> None:
        self.results = self.place.channel.inbox(GATEWAY, GATEWAY_DEPTH, GATEWAY_SENDERS)
        self.progress = ProgressFile(self.place.path / "progress", create=True)
        self.routing = Routing(self.plan, 1, PORTS)  # that the handler knows
        depth = handler_depth(self.plan, self.routing.inputs)
        self.inbox = self.place.channel.inbox(handler_address(SESSION, 1, self.plan.window), depth)
        self.sender = Forwarder(self.place.channel, 1, self.recorder, None, self.closing, lambda: self.plan)
        self.upstream = Forwarder(self.place.channel, 1, Recorder(1.0), None, self.closing, lambda: self.plan)
        settings = ChildSettings(
            node_id=1, channel_name=self.place.name, run_path=str(self.place.path), max_frame_bytes=1 << 20
        )
        self.astray: list[tuple[int, int]] = []  # what the handler said of frames that may be nowhere
        self.link = Link(
            session_id=SESSION,
            handler_id=1,
            settings=settings,
            routing=lambda: self.routing,
            sender=self.sender,
            recorder=self.recorder,
            progress=self.progress,
            inbox=self.inbox,
            astray=lambda accept_from, through: self.astray.append((accept_from, through)),
        )
        self.loop = threading.Thread(target=FrameLoop(self.link, self.handler, self.closing).run)

    def downstream(self, handler_id: int) -> Inbox:
        """Open the inbox of a handler behind this one."""
        return self.place.channel.inbox(
            handler_address(SESSION, handler_id, self.plan.window), handler_depth(self.plan, 1)
        )

    def give(self, pieces: list[packet.Buffer]) -> None:
        """Send a packet to the handler, waiting for room."""
        assert self.upstream.to_handler(self.plan.routes[1][0], (SESSION, 1, 0), 1, pieces, epoch=self.plan.epoch)

    def close(self) -> None:
        self.closing.set()
        if self.loop.ident is not None:
            self.loop.join(PATIENCE_S)
        self.sender.close()
        self.upstream.close()
        self.inbox.close()
        self.results.close()


@contextmanager
def staged(place: Place, session: SessionPlan, handler: type[Handler[Any]]) -> Iterator[Stage]:
    """Yield a stage whose loop the test starts."""
    stage = Stage(place, session, handler(Params(), Context(Path())))
    try:
        yield stage
    finally:
        stage.close()


def received(inbox: Inbox) -> Packet:
    """Return the next packet."""
    data = inbox.receive(PATIENCE_S)
    assert data is not None, f"nothing came to {inbox.address}"
    return packet.decode(data)
