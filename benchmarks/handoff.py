"""A frame goes from one process to another on the same node.

In turn, sender and receiver pinned to one core, CPU of both per frame: the product's channel with the frame already
in a slot of shared memory (what is written is the header), the same with the frame copied into the slot, and a
`multiprocessing.Queue` that pickles the array. A copy by memcpy is shown beside them.
"""

import math
import multiprocessing
import os
import secrets
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import CORE, Outcome, Row, Say, Scale, cpu, median_of
from handlers import codec
from node.transport.channel import Channel, Outlet, sweep
from node.transport.forward import put
from wire import packet
from wire.packet import Header, ImagePart, Span

SHAPES = (
    (100, 200, 3),
    (480, 640, 3),
    (1080, 1920, 3),
)  # 60,000, 921,600 and 6,220,800 bytes; the promise is made at the middle one
BATCH = 16  # frames under way; the receiver says when it has taken as many
DEPTH = 2 * BATCH
ADDRESS = "session/1/handler/1"
CHEAP = 800  # frames in a round of what costs little
PATIENCE_S = 20.0
CPU_US, LESS_THAN_QUEUE = 80.0, 10.0


def take_from_channel(pipe: Connection, taken: Any, name: str, folder: str) -> None:
    """Target of the receiver: take packets as a handler's process does, as far as the array."""
    os.sched_setaffinity(0, [CORE])
    inbox = Channel(name, Path(folder)).inbox(ADDRESS, DEPTH)
    pipe.send("ready")
    count = 0
    while not (count % BATCH == 0 and pipe.poll(0)):
        data = inbox.receive(0.2)
        if data is not None:
            arrived = packet.decode(data)
            codec.from_part(arrived.header.payload, arrived.buffers)
            count += 1
            if count % BATCH == 0:
                taken.release()
    inbox.close()


def take_from_queue(pipe: Connection, taken: Any, queue: Any) -> None:
    """Target of the receiver of the pickling queue; None ends it."""
    os.sched_setaffinity(0, [CORE])
    pipe.send("ready")
    count = 0
    while queue.get() is not None:
        count += 1
        if count % BATCH == 0:
            taken.release()


class Way:
    """A sender in this process and a receiver in another."""

    def __init__(self, target: Callable[..., None], *args: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._taken = context.Semaphore(0)
        self._process = context.Process(target=target, args=(theirs, self._taken, *args), daemon=True)
        self._process.start()
        self.pipe.recv()

    def send(self) -> None:
        """Hand one frame over."""
        raise NotImplementedError

    def round(self, frames: int) -> float:
        """Return the CPU microseconds per frame of both processes."""
        pids = (os.getpid(), self._process.pid or 0)
        before = sum(map(cpu, pids))
        for _ in range(frames // BATCH):
            for _ in range(BATCH):
                self.send()
            if not self._taken.acquire(timeout=PATIENCE_S):
                raise TimeoutError("the receiver takes nothing")
        return (sum(map(cpu, pids)) - before) / (frames // BATCH * BATCH) * 1e6

    def close(self) -> None:
        """End the receiver."""
        self.pipe.send("end")
        self._process.join(5)


class InPlace(Way):
    """The product, the frame being in the slot already: the header is written before it, and the slot sent."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._folder = tempfile.mkdtemp(prefix="faceservice-handoff-")
        self._name = f"bench{secrets.token_hex(4)}"
        super().__init__(take_from_channel, self._name, self._folder)
        self._channel = Channel(self._name, Path(self._folder))
        self.outlet: Outlet = self._channel.outlet(ADDRESS, DEPTH)
        self._shape = shape
        self.frame = np.zeros(shape, np.uint8)
        self._size = self.frame.nbytes
        self._room = packet.head_room(self.header(), [self._size])

    def header(self) -> Header:
        """Return the header of a frame that has passed one handler."""
        return Header(
            session_id=1,
            epoch=1,
            sequence=1,
            timestamp=time.time(),
            origin=1,
            trace=[Span(0, 1, 1.0, 1.0, 1.0, self.frame.nbytes)],
            payload=ImagePart(shape=self._shape, buffer=0),
            handler_id=1,
            port=0,
        )

    def send(self) -> None:
        slot = self.outlet.loan(self._room + self._size)
        if slot is None:
            raise RuntimeError("no slot is free")
        slot.view[: self._room] = packet.encode_head(self.header(), [self._size], self._room)
        if not slot.send():
            raise RuntimeError("the inbox is full")

    def close(self) -> None:
        super().close()
        self.outlet.close()
        self._channel.close()
        sweep(self._name, Path(self._folder))
        shutil.rmtree(self._folder, ignore_errors=True)


class Copied(InPlace):
    """The product, the frame being in the sender's own memory: copied into the slot once."""

    def send(self) -> None:
        _, buffers = codec.to_part(self.frame)
        if not put(self.outlet, packet.encode(self.header(), buffers)):
            raise RuntimeError("the inbox is full")


class Pickled(Way):
    """multiprocessing.Queue: pickled, written to a pipe, read, unpickled."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._queue: Any = multiprocessing.get_context("spawn").Queue()
        self._frame = np.zeros(shape, np.uint8)
        super().__init__(take_from_queue, self._queue)

    def send(self) -> None:
        self._queue.put(self._frame)

    def close(self) -> None:
        self._queue.put(None)
        super().close()
        self._queue.close()


def memcpy(size: int, frames: int) -> float:
    """Return the microseconds of CPU that a copy of *size* bytes takes."""
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    before = cpu(os.getpid())
    for _ in range(frames):
        np.copyto(target, source)
    return (cpu(os.getpid()) - before) / frames * 1e6


def measure(shape: tuple[int, int, int], frames: int, rounds: int) -> dict[str, float]:
    """Return medians of CPU microseconds per frame, and the ratio of queue to hand-over of each round.

    *frames* a round for the slow queue, CHEAP for the others.
    """
    ways = {"in place": InPlace(shape), "copied": Copied(shape), "queue": Pickled(shape)}
    try:
        for way in ways.values():
            way.round(4 * DEPTH)  # until every slot has been touched
        table = []
        for _ in range(rounds):
            row = {name: way.round(frames if name == "queue" else CHEAP) for name, way in ways.items()}
            table.append(row | {"memcpy": memcpy(math.prod(shape), frames)})
    finally:
        for way in ways.values():
            way.close()
    ratio = statistics.median(r["queue"] / r["in place"] for r in table)
    return median_of(table) | {"queue_to_in_place": ratio}


def run(scale: Scale, say: Say) -> Outcome:
    """Measure all sizes."""
    affinity = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [CORE])
    figures: dict[str, Any] = {}
    try:
        for shape in SHAPES:
            frames = scale.pick(2000, 400) if math.prod(shape) < 1 << 20 else scale.pick(320, 96)
            figures[f"{math.prod(shape)} B"] = found = measure(shape, frames, scale.rounds)
            say(f"hand-over of {math.prod(shape)} B, CPU us: " + ", ".join(f"{k} {v:.1f}" for k, v in found.items()))
    finally:
        os.sched_setaffinity(0, affinity)
    small, promised, large = (math.prod(s) for s in SHAPES)
    at, least, most = figures[f"{promised} B"], figures[f"{small} B"], figures[f"{large} B"]
    beside = f"copied {at['copied']:.0f}, pickled queue {at['queue']:.0f}, memcpy {at['memcpy']:.0f} us"
    what = f"hand-over on a node, {promised} B in shared memory"
    return Outcome(
        [
            Row(f"{what}: CPU", at["in place"], "us", at_most=CPU_US, note=beside),
            Row(
                f"{what}: at {large} B over {small} B",
                most["in place"] / least["in place"],
                "x",
                at_most=1.5,
                note=f"{least['in place']:.1f} us at {small} B, {most['in place']:.1f} us at {large} B",
            ),
            Row(f"{what}: pickled queue over it", at["queue_to_in_place"], "x", at_least=LESS_THAN_QUEUE),
        ],
        figures,
    )
