"""The main thread of a handler's process: one frame after the other, or a few at once.

    inbox ─▶ join ─▶ [what else waits, up to max_batch] ─▶ execute ─▶ send, in the order of arrival
                └─ stateful: in the order of sequence, each frame once

A batch is made of what is in the inbox already: nothing ever waits for more.
"""

import logging
import threading
import time
from typing import Any

from handlers import codec
from handlers.base import Handler
from node.worker.execution import Done, Execution, Job
from node.worker.join import Joiner
from node.worker.lending import Lender
from node.worker.link import Link
from node.worker.outgoing import Outgoing
from node.worker.stateful import InOrder
from wire import packet
from wire.messages import PacketEvent
from wire.packet import EmptyPart, Packet, PacketError, Span

log = logging.getLogger(__name__)

IDLE_S = 0.5  # how long the main thread waits before it looks whether to close
ANSWER_S = 0.01  # and before it asks what became of its last packets, when nothing else comes


class FrameLoop:
    """Receives, joins, executes, sends."""

    def __init__(self, link: Link, handler: Handler[Any], closing: threading.Event) -> None:
        self._link = link
        self._closing = closing
        lender = Lender(link)
        handler.allocate = lender.output
        self._lender = lender
        self._execution = Execution(link, handler, lender)
        self._outgoing = Outgoing(link, lender)
        routing = link.routing()
        self._joiner = Joiner(routing.inputs, bound=2 * routing.plan.window)
        self._max_batch = min(handler.max_batch, batch_bound(routing.plan.window, routing.inputs))
        self._cautious = 2 * routing.plan.window  # frames that go alone first: one may have killed a predecessor
        self._order = InOrder(link, self._outgoing, routing.plan.window) if handler.stateful else None
        self._accept_from = 0
        self._jobs: list[Job] = []

    def run(self) -> None:
        """Handle frames until closing."""
        while not self._closing.is_set():
            self._outgoing.look_back()
            data = self._next()
            while data is not None:
                self._take(data)
                data = self._link.inbox.receive(0) if 0 < len(self._jobs) < self._limit else None
            while self._jobs:
                count = self._limit
                jobs, self._jobs = self._jobs[:count], self._jobs[count:]
                self._work(jobs)

        self._link.sender.settle()

    def _next(self) -> memoryview | None:
        """Return the next packet. What was sent is looked after when there is none; nobody is woken for an answer."""
        inbox, sender = self._link.inbox, self._link.sender
        data = inbox.receive(0)
        if data is not None:
            return data
        if not sender.collect():
            return inbox.receive(IDLE_S)
        data = inbox.receive(ANSWER_S)
        if data is None:
            sender.settle()
        return data

    @property
    def _limit(self) -> int:
        return 1 if self._cautious else self._max_batch

    def _take(self, data: memoryview) -> None:
        received = time.time()
        try:
            arrived = packet.decode(data)
        except PacketError as error:  # the gateway checks what comes from outside, so this is our own fault
            log.error("handler %s: unreadable packet: %s", self._link.handler_id, error)
            return
        header = arrived.header
        routing = self._link.routing()
        if routing.plan.accept_from != self._accept_from:
            self._accept_from = routing.plan.accept_from
            self._joiner.forget_before(self._accept_from)
            if self._order is not None:
                self._order.forget_before(self._accept_from)
        if header.epoch < self._accept_from:
            return
        self._link.note(header.sequence, PacketEvent.RECV, received, arrived.size)
        complete = self._joiner.add(arrived)
        if complete is not None:
            values = [codec.from_part(p.header.payload, p.buffers) for p in complete]
            size = sum(p.size for p in complete)
            job = Job(routing, complete[0].header, values, merged_trace(complete), received, size)
            self._jobs += [job] if self._order is None else self._order.turn(job)
        for late in self._joiner.overdue():
            lost = EmptyPart(status="dropped", ended_by=self._link.handler_id, reason="join_partner_missing")
            self._outgoing.send(routing, late.header, lost, late.header.trace)

    def _work(self, jobs: list[Job]) -> None:
        """Execute *jobs* and send what comes of them; what has ended before this handler passes."""
        done = iter(self._execute([job for job in jobs if job.ended is None]))
        for job in jobs:
            if (ended := job.ended) is None:
                self._send(job, next(done))
            else:
                self._outgoing.send(job.routing, job.header, ended, job.trace)
                self._link.progress.passed(job.header.sequence)
        self._lender.end()

    def _execute(self, jobs: list[Job]) -> list[Done]:
        waiting = len(self._joiner) + (0 if self._order is None else len(self._order))
        if len(jobs) > 1:
            return self._execution.together(jobs, waiting)
        self._cautious = max(0, self._cautious - len(jobs))
        return [self._execution.alone(job, waiting) for job in jobs]

    def _send(self, job: Job, done: Done) -> None:
        link = self._link
        span = Span(link.handler_id, link.settings.node_id, job.received, done.start, done.end, job.size)
        if self._order is not None:
            self._order.keep(job, done, span)
        self._outgoing.send_or_fail(job.routing, job.header, done.value, [*job.trace, span])


def batch_bound(window: int, inputs: int) -> int:
    """Return how many frames a batch may hold so that frames that wait for their partners have room beside it."""
    return 8 + 2 * window // max(1, inputs)


def merged_trace(packets: list[Packet]) -> list[Span]:
    """Return the spans of all *packets*, each once, by their start."""
    if len(packets) == 1:
        return packets[0].header.trace
    spans = {(s.handler_id, s.node_id): s for p in packets for s in p.header.trace}
    return sorted(spans.values(), key=lambda s: s.start)
