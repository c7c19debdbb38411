"""A TCP relay between nodes, and between clients and nodes, that delays, stalls, refuses and cuts connections.

    peer ──▶ door (address of our own) ──▶ pump ──▶ where the node listens

One thread runs an event loop for all doors; other threads only change a door's state or order a cut. A door may be
a source too: the address where connections come from, whichever door they pass.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count

from tests.faults.plans import What

PIECE = 64 * 1024  # bytes
LOOK_S = 0.02  # how often a stalled connection looks whether it may go on
Address = tuple[str, int]


@dataclass
class Door:
    """An address that leads to another, or to the first of several that answers; its state belongs to the loop."""

    at: Address
    to: tuple[Address, ...]
    delay_s: float = 0.0
    stalled: bool = False
    refusing: bool = False
    cut_in: int | None = None  # bytes from the peer until the next cut
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    server: asyncio.Server | None = None
    tape: list[tuple[int, bool, bytes]] | None = None  # what passed: connection, whether inward, bytes


class Relay:
    """Doors; start() before open()."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._doors: list[Door] = []
        self._sources: dict[str, Door] = {}
        self._numbers = count()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Run the loop."""
        self._thread.start()

    def source(self, host: str) -> Door:
        """Return what stands for all connections from *host*."""
        return self._sources.setdefault(host, Door((host, 0), ()))

    def open(self, at: Address, *to: Address, recorded: bool = False) -> Door:
        """Open a door. Raises OSError when *at* is in use."""
        door = Door(at, to, tape=[] if recorded else None)
        asyncio.run_coroutine_threadsafe(self._serve(door), self._loop).result(10)
        self._doors.append(door)
        return door

    def close(self) -> None:
        """Close everything."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def begin(self, door: Door, what: What, amount: float) -> Callable[[], None]:
        """Let *what* happen to *door*; returns what ends it."""
        changes: dict[What, Callable[[], object]] = {
            What.DELAY: lambda: setattr(door, "delay_s", amount),
            What.STALL: lambda: setattr(door, "stalled", True),
            What.REFUSE: lambda: self._refuse(door),
            What.RESET: lambda: _cut(door, reset=True),
            What.CLOSE: lambda: _cut(door, reset=False),
            What.CUT: lambda: setattr(door, "cut_in", int(amount)),
        }
        self._do(changes[what])
        return lambda: self._do(lambda: _well(door))

    def _do(self, change: Callable[[], object]) -> None:
        done: Future[None] = Future()

        def run() -> None:
            change()
            done.set_result(None)

        self._loop.call_soon_threadsafe(run)
        done.result(10)

    def _refuse(self, door: Door) -> None:
        door.refusing = True
        _cut(door, reset=True)

    async def _serve(self, door: Door) -> None:
        door.server = await asyncio.start_server(lambda r, w: self._meet(door, r, w), *door.at)

    async def _meet(self, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source = self._sources.get(writer.get_extra_info("peername")[0])
        ways = (door,) if source is None else (door, source)
        far = None if any(way.refusing for way in ways) else await _far(door)
        if far is None:
            _end(writer, reset=True)
            return
        number = next(self._numbers)
        far_reader, far_writer = far
        both = (writer, far_writer)
        for one in both:
            with contextlib.suppress(OSError):  # it is gone already
                one.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for way in ways:
            way.writers.update(both)
        try:
            await asyncio.gather(
                self._pump(number, ways, reader, far_writer, inward=True),
                self._pump(number, ways, far_reader, writer, inward=False),
            )
        except (OSError, RuntimeError):  # RuntimeError: written to after it was closed
            for one in both:
                _end(one, reset=True)
        finally:
            for way in ways:
                way.writers.difference_update(both)
            for one in both:
                one.close()

    async def _pump(
        self,
        number: int,
        ways: tuple[Door, ...],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        inward: bool,
    ) -> None:
        door = ways[0]
        while data := await reader.read(PIECE):
            if delay_s := max(way.delay_s for way in ways):
                await asyncio.sleep(delay_s)
            while any(way.stalled for way in ways):
                await asyncio.sleep(LOOK_S)
            if inward and door.cut_in is not None:
                data = _until_cut(door, data)
            writer.write(data)
            if door.tape is not None:
                door.tape.append((number, inward, data))
            await writer.drain()
            if door.cut_in == 0:
                door.cut_in = None
                raise ConnectionResetError("cut")
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _close(self) -> None:
        for door in self._doors:
            if door.server is not None:
                door.server.close()
            _well(door)
            _cut(door, reset=True)
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        await asyncio.wait(tasks, timeout=2) if tasks else None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _far(door: Door) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    """Return a connection to the first address that takes one, or None."""
    for host, port in door.to:
        with contextlib.suppress(OSError):
            return await asyncio.open_connection(host, port)
    return None


def _until_cut(door: Door, data: bytes) -> bytes:
    """Return what of *data* still passes."""
    left = door.cut_in or 0
    door.cut_in = max(0, left - len(data))
    return data[:left]


def _well(door: Door) -> None:
    door.delay_s, door.stalled, door.refusing = 0.0, False, False


def _cut(door: Door, *, reset: bool) -> None:
    for writer in list(door.writers):
        _end(writer, reset=reset)


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    """Close at once; with *reset* the peer gets RST, else FIN."""
    if reset:
        sock = writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()
