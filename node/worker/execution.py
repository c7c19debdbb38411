"""A handler at work: one frame, or a batch of those that waited."""

import logging
import time
from dataclasses import dataclass
from typing import Any

from handlers.base import FrameError, Handler
from node.transport.routing import Routing
from node.worker.lending import Lender
from node.worker.link import Link
from node.worker.pictures import unpacked
from wire.messages import PacketEvent
from wire.packet import EmptyPart, Header, Span

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Job:
    """A frame with all its inputs. One that is sent again while it waits goes on with the header of then."""

    routing: Routing
    header: Header
    values: list[Any]  # one per input
    trace: list[Span]
    received: float  # s since the epoch
    size: int  # bytes

    @property
    def ended(self) -> EmptyPart | None:
        """How the frame ended before this handler; None: every input has a value."""
        return ending(self.values)


def ending(values: list[Any]) -> EmptyPart | None:
    """Return how the frame ended before this handler, the worst way first, or None when every input has a value."""
    empty = [v for v in values if isinstance(v, EmptyPart)]
    return min(empty, key=lambda e: ("failed", "dropped", "ok").index(e.status), default=None)


@dataclass(frozen=True, slots=True)
class Done:
    """What the handler gave for a frame (or an EmptyPart), and when it began and ended, s since the epoch."""

    value: Any
    start: float
    end: float


class Execution:
    """Calls the handler; whatever a plug-in does, every frame comes back. Used by the main thread alone."""

    def __init__(self, link: Link, handler: Handler[Any], lender: Lender) -> None:
        self._link = link
        self._handler = handler
        self._lender = lender

    def alone(self, job: Job, waiting: int) -> Done:
        """Execute one frame while *waiting* others are incomplete."""
        link, sequence = self._link, job.header.sequence
        link.progress.begin(sequence, waiting)
        start, tick = time.time(), time.monotonic()
        link.note(sequence, PacketEvent.START, start)
        self._lender.begin(job.routing, job.header)
        value = self._call(job.values)
        seconds = time.monotonic() - tick
        link.progress.end(waiting, sequence)
        link.recorder.served(0.0, seconds)
        link.note(sequence, PacketEvent.END, start + seconds)
        return Done(value, start, start + seconds)

    def together(self, jobs: list[Job], waiting: int) -> list[Done]:
        """Execute a batch; when the handler does not take it, each frame alone, so that one bad frame fails alone.

        A frame's span is the batch's; its service time is its share.
        """
        link, last = self._link, jobs[-1].header.sequence
        link.progress.begin(jobs[0].header.sequence, waiting)
        self._lender.end()
        start, tick = time.time(), time.monotonic()
        values = self._call_batch(jobs)
        seconds = time.monotonic() - tick
        if values is None:
            return [self.alone(job, waiting) for job in jobs]
        link.progress.end(waiting, last, len(jobs))
        for job in jobs:
            link.recorder.served(0.0, seconds / len(jobs))
            link.note(job.header.sequence, PacketEvent.START, start)
            link.note(job.header.sequence, PacketEvent.END, start + seconds)
        return [Done(self._given(value), start, start + seconds) for value in values]

    def _call(self, values: list[Any]) -> Any:
        handler_id = self._link.handler_id
        try:
            return self._given(self._handler.execute(*unpacked(values, self._handler.inputs)))
        except FrameError as error:
            return EmptyPart(status="failed", ended_by=handler_id, reason=str(error))
        except Exception as error:
            log.exception("handler %s broke on a frame", handler_id)
            reason = f"{type(error).__name__}: {error}"
            return EmptyPart(status="failed", ended_by=handler_id, reason=reason, broken=True)

    def _call_batch(self, jobs: list[Job]) -> list[Any] | None:
        """Return one value per frame, or None when each must be tried alone."""
        try:
            values = self._handler.execute_batch([tuple(unpacked(j.values, self._handler.inputs)) for j in jobs])
            if len(values) == len(jobs):
                return values
            log.error("handler %s gave %d values for %d frames", self._link.handler_id, len(values), len(jobs))
        except FrameError as error:
            log.debug("handler %s: a batch goes frame by frame: %s", self._link.handler_id, error)
        except Exception:
            log.exception("handler %s: a batch of %d goes frame by frame", self._link.handler_id, len(jobs))
        return None

    def _given(self, value: Any) -> Any:
        if value is None and self._handler.outputs:
            return EmptyPart(status="ok", ended_by=self._link.handler_id)
        return value
