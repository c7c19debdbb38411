"""The window of unanswered frames: who may come in, who must wait, what is complete, what may be handed out. Pure.

The entry calls it under its lock; time comes in as an argument (monotonic seconds).
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from node.gateway.limit import Limit
from node.gateway.results import Exit, Piece
from wire.messages import Delivery
from wire.packet import Part, Span

Content = tuple[Part, list[bytes]]


@dataclass
class OpenFrame:
    """A frame that has been taken and not yet answered."""

    sequence: int
    timestamp: float  # when it was made by the client's word, else taken, s since the epoch
    opened: float  # the same, monotonic s
    want: tuple[Exit, ...]
    key: tuple[str, str] | None
    content: Content  # kept until the result is there, to send it again
    expects: frozenset[Exit]
    trace: list[Span] = field(default_factory=list)  # of the source that made it
    pieces: dict[Exit, Piece] = field(default_factory=dict)
    blames: int = 0
    resent: float = 0.0  # monotonic s of the last sending
    epoch: int = 0  # under which it was sent last


class Ticket:
    """A place in the queue before the window; *wake* is called when the waiting ends."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.admitted = False
        self.dropped = False
        self.ended = False
        self._wake = wake

    def admit(self) -> None:
        """The frame may come in."""
        self.admitted = True
        self._wake()

    def drop(self) -> None:
        """A newer frame took the place."""
        self.dropped = True
        self._wake()

    def end(self) -> None:
        """The session is over."""
        self.ended = True
        self._wake()


class Window:
    """At most *size* frames between admission and result; of live ones as many as are answered within *bound_ms*."""

    def __init__(self, size: int, delivery: Delivery, bound_ms: float | None = None) -> None:
        self._rules = (size, delivery, bound_ms)
        self._limit = _limit(*self._rules)
        self.ended = False
        self._paused = False
        self._reserved = 0
        self._waiting: deque[Ticket] = deque()
        self.open: dict[int, OpenFrame] = {}

    @property
    def full(self) -> bool:
        """True when a new frame has to wait."""
        return self._paused or self._reserved + len(self.open) >= self._limit.frames

    @property
    def free(self) -> bool:
        """True when a new frame comes in at once."""
        return not (self.ended or self._waiting or self.full)

    def ask(self, wake: Callable[[], None]) -> Ticket:
        """Ask for a place. `live`: whoever waited longest loses his when the newest has to wait too."""
        ticket = Ticket(wake)
        if self.ended:
            ticket.end()
            return ticket
        if not self.full and not self._waiting:
            self._admit(ticket)
            return ticket
        if self.delivery is Delivery.LIVE and self._waiting:
            self._waiting.popleft().drop()
        self._waiting.append(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give up waiting, or give back a place before a frame was opened on it."""
        if ticket.admitted:
            ticket.admitted = False
            self._reserved -= 1
            self.advance()
        elif ticket in self._waiting:
            self._waiting.remove(ticket)

    def put(self, ticket: Ticket, frame: OpenFrame) -> None:
        """Open *frame* on an admitted ticket, which is used up by that."""
        if not ticket.admitted:
            raise ValueError("the ticket was not admitted")
        ticket.admitted = False
        self._reserved -= 1
        self.open[frame.sequence] = frame

    def report(self, sequence: int, exit_: Exit, piece: Piece) -> OpenFrame | None:
        """Take an exit's word; returns the frame when every expected exit has spoken. Repeats change nothing."""
        frame = self.open.get(sequence)
        if frame is None or exit_ not in frame.expects:
            return None
        frame.pieces.setdefault(exit_, piece)
        return frame if len(frame.pieces) == len(frame.expects) else None

    @property
    def delivery(self) -> Delivery:
        """What happens to frames that find it full."""
        return self._rules[1]

    def change(self, size: int, delivery: Delivery, bound_ms: float | None) -> None:
        """Be as a newer plan says; a smaller window is kept to as frames leave."""
        if self._rules != (size, delivery, bound_ms):
            self._rules = (size, delivery, bound_ms)
            self._limit = _limit(*self._rules)
        self.advance()

    def answered(self, latency_ms: float) -> None:
        """Learn from a frame that took so long, before it is closed."""
        self._limit.answered(latency_ms, others_wait=self.full)

    def expect(self, exits: Iterable[Exit], on_demand: Iterable[Exit]) -> tuple[list[OpenFrame], bool]:
        """Have the open frames wait for a newer plan's exits: *exits*, and those of *on_demand* that they want.

        Returns (those that have nothing left to wait for, whether anything changed).
        """
        always, may, changed = frozenset(exits), frozenset(on_demand), False
        for frame in self.open.values():
            frame.want = tuple(e for e in frame.want if e in may)
            expects = always | frozenset(frame.want)
            changed = changed or expects != frame.expects
            frame.expects = expects
            frame.pieces = {e: p for e, p in frame.pieces.items() if e in expects}
        return [f for f in self.open.values() if f.expects and len(f.pieces) == len(f.expects)], changed

    def close(self, sequence: int) -> OpenFrame | None:
        """Remove an answered frame; the next one waiting comes in."""
        frame = self.open.pop(sequence, None)
        self.advance()
        return frame

    def advance(self) -> None:
        """Admit those who wait while there is room."""
        while self._waiting and not self.full:
            self._admit(self._waiting.popleft())

    def pause(self, *, paused: bool = True) -> None:
        """Let nobody in, so that all wait, until this is called with *paused* false."""
        self._paused = paused
        self.advance()

    def end(self) -> None:
        """Send away all who wait or will ask: the session is over."""
        self.ended = True
        while self._waiting:
            self._waiting.popleft().end()

    def horizon(self) -> int | None:
        """Return the lowest open sequence: results below it may be handed out in order. None: all may."""
        return min(self.open, default=None)

    def below(self, sequence: int) -> tuple[int, int | None]:
        """Return (lowest open sequence up to *sequence*, highest one below it): what a frame may have to wait for."""
        lower = [s for s in self.open if s < sequence]
        return min(lower, default=sequence), max(lower, default=None)

    def oldest(self, opened_before: float) -> list[OpenFrame]:
        """Return the open frame with the lowest number, where it was opened before then (monotonic s)."""
        lowest = min(self.open, default=None)
        return [f for n, f in self.open.items() if n == lowest and f.opened <= opened_before]

    def overdue(self, now: float, resend_s: float, drop_s: float) -> tuple[list[OpenFrame], list[OpenFrame]]:
        """Return (frames to send again, frames to drop): the safety net for packets that got lost."""
        again, lost = [], []
        for frame in self.open.values():
            if now - frame.opened > drop_s:
                lost.append(frame)
            elif now - max(frame.opened, frame.resent) > resend_s:
                again.append(frame)
        return again, lost

    def _admit(self, ticket: Ticket) -> None:
        self._reserved += 1
        ticket.admit()


def _limit(size: int, delivery: Delivery, bound_ms: float | None) -> Limit:
    return Limit(size, bound_ms if delivery is Delivery.LIVE else None)
