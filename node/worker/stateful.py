"""A stateful handler's frames, one turn each: what comes a second time is answered with what was given the first time.

join ─▶ turn ─▶ [frames whose turn it is] ─▶ execute ─▶ keep (a copy) ─▶ send
          └─ late ─▶ send what was kept, else an empty packet: dropped, out_of_order
"""

from typing import Any

from handlers import codec
from node.worker.execution import Done, Job
from node.worker.link import Link
from node.worker.order import Memory, Turnstile
from node.worker.outgoing import Outgoing
from wire.packet import EmptyPart, Span

MEMORY_BYTES = 64 << 20


class InOrder:
    """Used by the main thread alone."""

    def __init__(self, link: Link, outgoing: Outgoing, window: int) -> None:
        self._link = link
        self._outgoing = outgoing
        self._gate = Turnstile[Job](bound=window)
        self._at_work: dict[int, Job] = {}  # by sequence: their turn has come, and they are not kept yet
        self._memory = Memory[tuple[Any, Span]](2 * window, MEMORY_BYTES)

    def __len__(self) -> int:
        return len(self._gate)

    def turn(self, job: Job) -> list[Job]:
        """Return the frames whose turn has come with *job*, in order; a late one is answered."""
        header = job.header
        previous = None if job.routing.on_demand else header.previous
        jobs = self._gate.offer(header.sequence, previous, header.horizon or 0, job)
        if jobs is None:
            self._answer(job)
            return []
        self._at_work.update((one.header.sequence, one) for one in jobs if one.ended is None)
        return jobs

    def keep(self, job: Job, done: Done, span: Span) -> None:
        """Keep what the handler gave; before it is sent, since it belongs to the receiver then."""
        self._at_work.pop(job.header.sequence, None)
        try:
            value, size = copied(done.value)
        except (TypeError, ValueError):  # sending says so
            return
        self._memory.keep(job.header.sequence, (value, span), size)

    def forget_before(self, epoch: int) -> None:
        """Drop those who wait and came with an epoch older than *epoch*."""
        self._gate.forget(lambda job: job.header.epoch < epoch)

    def _answer(self, job: Job) -> None:
        first = self._at_work.get(job.header.sequence)
        if first is not None:
            if job.header.epoch > first.header.epoch:  # it goes on as what is welcome
                first.header, first.routing = job.header, job.routing
            return
        kept = self._memory.get(job.header.sequence)
        if kept is not None:
            self._outgoing.send_or_fail(job.routing, job.header, kept[0], [*job.trace, kept[1]])
            return
        late = EmptyPart(status="dropped", ended_by=self._link.handler_id, reason="out_of_order")
        self._outgoing.send(job.routing, job.header, job.ended or late, job.trace)


def copied(value: Any) -> tuple[Any, int]:
    """Return *value* in memory of its own, and its bytes. Raises TypeError or ValueError for what is no value."""
    if value is None or isinstance(value, EmptyPart):
        return value, 0
    if isinstance(value, tuple):
        copies = [copied(one) for one in value]
        return tuple(one for one, _ in copies), sum(size for _, size in copies)
    part, buffers = codec.to_part(value)
    owned = [bytes(buffer) for buffer in buffers]
    return codec.from_part(part, [memoryview(one) for one in owned]), sum(map(len, owned))
