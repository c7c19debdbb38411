"""The main thread of a source's process: it reads, and offers each frame to the entry."""

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from handlers import codec
from handlers.base import EndOfSource, FrameError, Source
from node.worker.link import Link
from wire import packet
from wire.packet import Buffer, Header, Kind, Span

log = logging.getLogger(__name__)

IDLE_S = 0.5  # how long the main thread waits before it looks whether to close
AGAIN_S = 5.0  # an offer without a credit is made again: a new gateway knows nothing of it


class SourceLoop:
    """Reads a source and offers each frame to the entry's gateway, which numbers it; one offer at a time."""

    def __init__(self, link: Link, handler: Source[Any], running: threading.Event, closing: threading.Event) -> None:
        self._link = link
        self._handler = handler
        self._running = running
        self._closing = closing
        self._offers = 0
        self._end: Header | None = None  # what was offered last

    def run(self) -> None:
        """Read while the session runs, until closing; say again and again when the source has ended."""
        while not self._closing.is_set():
            if self._end is not None:
                self._closing.wait(AGAIN_S)  # the gateway that heard of it may be gone: its successor must hear it too
                self._until_taken(self._end, [])
            elif self._running.wait(IDLE_S):
                self._one()

    def _one(self) -> None:
        """Offer one frame, or the end."""
        start, tick = time.time(), time.monotonic()
        try:
            value = self._handler.read()
        except EndOfSource:
            self._end = self._offer(Kind.SOURCE_END, None, start, start)
            return
        except FrameError as error:
            log.warning("source %s: %s", self._link.handler_id, error)
            return
        seconds = time.monotonic() - tick
        self._link.recorder.served(0.0, seconds)
        self._offer(Kind.SOURCE, value, start, start + seconds)

    def _offer(self, kind: Kind, value: Any, start: float, end: float) -> Header:
        """Offer a frame until the entry has taken it; returns the offer."""
        self._offers += 1
        link = self._link
        part, buffers = (None, []) if value is None else codec.to_part(value)
        header = Header(
            kind=kind,
            session_id=link.session_id,
            epoch=0,
            sequence=self._offers,
            timestamp=start,
            origin=link.settings.node_id,
            trace=[Span(link.handler_id, link.settings.node_id, start, start, end)],
            payload=part,
            handler_id=link.handler_id,
        )
        self._until_taken(header, buffers)
        return header

    def _until_taken(self, header: Header, buffers: Sequence[Buffer]) -> None:
        """Offer until the entry has taken it: a window that is full for long loses nothing."""
        link = self._link
        while not self._closing.is_set():
            plan = link.routing().plan
            offer = msgspec.structs.replace(header, epoch=plan.epoch)
            link.sender.to_entry(plan, link.session_id, packet.encode(offer, buffers))
            if self._credited(header):
                return

    def _credited(self, offer: Header) -> bool:
        """Return True as soon as the entry says that it took *offer*, False after AGAIN_S."""
        deadline = time.monotonic() + AGAIN_S
        while not self._closing.is_set() and time.monotonic() < deadline:
            data = self._link.inbox.receive(IDLE_S)
            if data is not None and same_offer(packet.decode(data).header, offer):
                return True
        return False


def same_offer(one: Header, other: Header) -> bool:
    """Return True when both are about the same frame of the same source process."""
    return (one.sequence, one.timestamp) == (other.sequence, other.timestamp)
