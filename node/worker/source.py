"""The main thread of a source's process: it reads, and offers each frame to the entry."""

import logging
import threading
import time
from typing import Any

from handlers import codec
from handlers.base import EndOfSource, FrameError, Source
from node.worker.link import Link
from wire import packet
from wire.packet import Header, Kind, Span

log = logging.getLogger(__name__)

IDLE_S = 0.5  # how long the main thread waits before it looks whether to close


class SourceLoop:
    """Reads a source and offers each frame to the entry's gateway, which numbers it; one offer at a time."""

    def __init__(self, link: Link, handler: Source[Any], running: threading.Event, closing: threading.Event) -> None:
        self._link = link
        self._handler = handler
        self._running = running
        self._closing = closing

    def run(self) -> None:
        """Read while the session runs, until closing."""
        ended = False
        while not self._closing.is_set():
            if ended or not self._running.wait(IDLE_S):
                self._closing.wait(IDLE_S if ended else 0)
                continue
            ended = not self._one()

    def _one(self) -> bool:
        """Offer one frame; returns False when the source has ended."""
        start, tick = time.time(), time.monotonic()
        try:
            value = self._handler.read()
        except EndOfSource:
            self._offer(Kind.SOURCE_END, None, start, start)
            return False
        except FrameError as error:
            log.warning("source %s: %s", self._link.handler_id, error)
            return True
        seconds = time.monotonic() - tick
        self._link.recorder.served(0.0, seconds)
        self._offer(Kind.SOURCE, value, start, start + seconds)
        return True

    def _offer(self, kind: Kind, value: Any, start: float, end: float) -> None:
        link, plan = self._link, self._link.routing().plan
        part, buffers = (None, []) if value is None else codec.to_part(value)
        header = Header(
            kind=kind,
            session_id=link.session_id,
            epoch=plan.epoch,
            sequence=0,
            timestamp=start,
            origin=link.settings.node_id,
            trace=[Span(link.handler_id, link.settings.node_id, start, start, end)],
            payload=part,
            handler_id=link.handler_id,
        )
        while link.inbox.receive(0) is not None:
            pass  # credits of earlier offers
        if link.sender.to_entry(plan, link.session_id, packet.encode(header, buffers)):
            self._await_credit()

    def _await_credit(self) -> None:
        """Wait until the entry took the frame, but not for ever: a new gateway knows nothing of the offer."""
        deadline = time.monotonic() + 5.0
        while not self._closing.is_set() and time.monotonic() < deadline and self._running.is_set():
            if self._link.inbox.receive(IDLE_S) is not None:
                return
