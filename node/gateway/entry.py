"""The entry of one session: admits frames, numbers them, keeps them until their results are there.

    connection threads ── admit ─▶ window ── open ─▶ dispatch ─▶ first handler (inbox or hop)
    inbox thread       ── report ─▶ window ─▶ outcomes ─▶ waiting threads, streams, video
    care thread        ── what is overdue, or was lost with a handler ─▶ dispatch

One lock (of the outcomes) guards window, books and kept results; dispatching has a lock of its own, so that frames
leave in the order of their sequence. Bounds: `window` open frames; kept results as results.Kept says; live: one
waiting frame.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from node.gateway.care import Care
from node.gateway.index import Key
from node.gateway.outcomes import Outcomes
from node.gateway.results import Exit, Heading, Piece, Result, compose, failure, piece_of
from node.gateway.window import Content, OpenFrame, Ticket, Window
from node.transport.forward import Forwarder
from node.transport.routing import Target, replicas_of, targets_of
from wire import packet
from wire.graph import Topology
from wire.messages import Books, Delivery, Encoding, FrameStatus, ResultSpec, Route, SessionPlan
from wire.packet import Buffer, Header, Packet, PacketError, Span

log = logging.getLogger(__name__)

HAND_OVER_S = 60.0  # after so long without a plan that ends it a hand-over is off
LATE_S = 1.0  # a frame open for so long may be stuck
GAP = 1_000_000  # the numbers that another entry may have given meanwhile


class Dropped(Exception):
    """A newer frame took this one's place (live)."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.reason or "")
        self.result = result


class Ended(Exception):
    """The session ended here, or went elsewhere, while the frame waited."""


class Repeated(Exception):
    """The client has sent this frame before."""

    def __init__(self, sequence: int) -> None:
        super().__init__(f"sequence {sequence}")
        self.sequence = sequence


class Entry:
    """One session's entry on this gateway."""

    def __init__(
        self,
        session_id: int,
        plan: SessionPlan,
        ports: Mapping[int, tuple[int, int]],
        sender: Callable[[Callable[[], SessionPlan]], Forwarder],
        books_path: Path,
    ) -> None:
        self.session_id = session_id
        self._ports = ports
        self._window = Window(plan.window, plan.delivery, plan.max_latency_ms)
        self.outcomes = Outcomes(self._window, books_path, plan.entry.first_sequence)
        self._lock = self.outcomes.lock
        self.dispatching = threading.RLock()  # frames are numbered and sent under it, so that they leave in order
        self.care = Care(self._window, self.outcomes, self, self._heading)
        self.unsent: deque[OpenFrame] = deque()  # numbered, but not sent in their turn: `catch_up` does that
        self._watchers = 0
        self._closed = False
        self.leaving = False  # another node becomes the entry
        self._left = 0.0  # monotonic s, when that was told
        self.sender = sender(lambda: self.plan)
        self._set_plan(plan)

    # --- plans ---------------------------------------------------------------------------------------

    def _set_plan(self, plan: SessionPlan) -> None:
        topology = Topology(plan.graph, self._ports)
        self.plan = plan
        self.has_source = topology.has_source
        self.exits: list[ResultSpec] = plan.results or topology.exits
        if self.has_source:
            self.targets = targets_of(plan, topology, plan.entry.handler_id)
        else:
            handler_id = plan.entry.handler_id
            whole = tuple(topology.exits)
            inputs = topology.inputs(handler_id)
            routes = replicas_of(plan, handler_id)
            target = Target(handler_id, topology.entry_input, inputs, routes, Encoding.RAW, whole, plan.epoch)
            self.targets = (target,)

    def update(self, plan: SessionPlan) -> None:
        """Take a newer plan; unanswered frames of epochs that are not welcome any more are sent again under it, and
        all of them when the exits differ.

        At the end of a planned move the oldest frame goes again too, if it is late: at the new place of a stateful
        handler it may wait for one that the old place had, and nobody but us knows that this one is answered.
        An entry that was to hand over stays by that: its successor was not ready.
        """
        with self._lock:
            if self.leaving:
                self._stay()
            settled = plan.epoch == self.plan.epoch and plan.accept_from > self.plan.accept_from
            self._set_plan(plan)
            self.outcomes.books.begin_at(plan.entry.first_sequence)
            self._window.change(plan.window, plan.delivery, plan.max_latency_ms)
            through, changed = self._window.expect(self._always(), self.picture_exits())
            for frame in through:
                self.outcomes.finish(frame, self._compose(frame))
            again = [f for f in self._window.open.values() if changed or f.epoch < plan.accept_from]
            if settled and not again:
                again = self._window.oldest(opened_before=time.monotonic() - LATE_S)
        if again:
            self.care.resend_soon(again)

    def _always(self) -> frozenset[Exit]:
        """Return the exits that every frame needs."""
        return frozenset((e.handler_id, e.output) for e in self.exits if not e.on_demand)

    # --- frames in -----------------------------------------------------------------------------------

    def admit(self, patience_s: float) -> Ticket | None:
        """Return a ticket for one frame, or None when there was no place within *patience_s*. Raises Dropped, Ended."""
        wake = threading.Event()
        with self._lock:
            ticket = self._window.ask(wake.set)
        if not wake.wait(patience_s):
            with self._lock:
                if not (ticket.admitted or ticket.dropped or ticket.ended):
                    self._window.leave(ticket)
                    return None
        if ticket.ended:
            raise Ended
        if ticket.dropped:
            raise Dropped(self._drop_waiting())
        return ticket

    def admit_at_once(self) -> Ticket | None:
        """Return a ticket for one frame when there is a place now; nobody is passed over."""
        with self._lock:
            return self._window.ask(lambda: None) if self._window.free else None

    def release(self, ticket: Ticket) -> None:
        """Give an admitted ticket back: its frame never came."""
        with self._lock:
            self._window.leave(ticket)

    def drop_newest(self) -> None:
        """Book a frame of a live source that found the window full."""
        self._drop_waiting("live_full")

    def _drop_waiting(self, reason: str = "live_newer") -> Result:
        """Book a frame that lost its place before it was sent. Raises Ended."""
        with self._lock:
            self._check_living()
            now, sequence = time.monotonic(), self.outcomes.books.take()
            heading = Heading(self.session_id, sequence, self.plan.epoch, time.time(), 0.0, now)
            result = failure(heading, FrameStatus.DROPPED, reason)
            self.outcomes.lost(result)
            return result

    def open(
        self,
        ticket: Ticket,
        content: Content,
        want: tuple[Exit, ...],
        key: Key | None,
        trace: Sequence[Span] = (),
        timestamp: float | None = None,
    ) -> OpenFrame:
        """Number a frame and send it. *content*: its payload; *want*: the on-demand exits it needs; *trace*: so far."""
        with self.dispatching:
            self.catch_up()
            frame = self.number(ticket, content, want, key, timestamp)
            frame.trace.extend(trace)
            self.dispatch(frame)
        return frame

    def number(
        self,
        ticket: Ticket,
        content: Content,
        want: tuple[Exit, ...],
        key: Key | None,
        timestamp: float | None = None,
    ) -> OpenFrame:
        """Open a frame in window and books; the caller holds `dispatching` and sends it. Raises Ended, Repeated.

        *timestamp*: when it was made, by the client's word (s since the epoch); None: now. A client may have sent
        the frame again while the first one was still on its way in.
        """
        with self._lock:
            self._check_living()
            if key is not None and (known := self.outcomes.known(key)) is not None:
                raise Repeated(known)
            wanted = tuple(dict.fromkeys([*want, *self._watched()]))
            taken = time.time() if timestamp is None else timestamp
            expects = self._always() | frozenset(wanted)
            frame = OpenFrame(self.outcomes.books.take(), taken, time.monotonic(), wanted, key, content, expects)
            frame.epoch = self.plan.epoch
            self._window.put(ticket, frame)
            self.outcomes.opened(frame.sequence)
            return frame

    def _check_living(self) -> None:
        if self._closed or self.leaving:
            raise Ended

    def header(self, frame: OpenFrame, target: Target) -> Header:
        """Return the header of *frame* for *target*, under the plan that this target is of: a frame goes to all its
        targets by one plan.
        """
        with self._lock:
            horizon, previous = self._window.below(frame.sequence)
            epoch = frame.epoch = target.epoch
        return Header(
            session_id=self.session_id,
            epoch=epoch,
            sequence=frame.sequence,
            timestamp=frame.timestamp,
            origin=self.plan.entry.node_id,
            want=list(frame.want),
            trace=frame.trace,
            payload=frame.content[0],
            handler_id=target.handler_id,
            port=target.port,
            horizon=horizon,
            previous=previous,
        )

    def catch_up(self) -> None:
        """Send what was numbered and not sent, before anything newer; waits as `dispatch` does."""
        with self.dispatching:
            while self.unsent:
                self.dispatch(self.unsent.popleft())

    def dispatch(self, frame: OpenFrame) -> None:
        """Send *frame* to the first handlers; waits while they are full. A frame that cannot be sent fails."""
        try:
            self._send(frame)
        except (PacketError, OSError) as error:
            log.exception("session %s: frame %s cannot be sent", self.session_id, frame.sequence)
            with self._lock:
                if frame.sequence in self._window.open:
                    self.care.fail(frame, f"cannot be sent: {error}")

    def _send(self, frame: OpenFrame) -> None:
        def needed() -> bool:
            return frame.sequence in self._window.open

        for target in self.targets:
            header = self.header(frame, target)
            if target.needed(header):
                pieces = packet.encode(header, frame.content[1])
                self.sender.send(self.session_id, target, frame.sequence, partial(_same, pieces), needed)

    # --- results -------------------------------------------------------------------------------------

    def report(self, arrived: Packet) -> None:
        """Take what an exit says of a frame; repeats and strangers change nothing."""
        header = arrived.header
        piece = piece_of(arrived)
        with self._lock:
            frame = self._window.report(header.sequence, (header.handler_id, header.port), piece)
            if frame is not None:
                self.outcomes.finish(frame, self._compose(frame))

    def _compose(self, frame: OpenFrame) -> Result:
        url = f"{self.plan.entry.url}/sessions/{self.session_id}/{self.plan.entry.key}/results/{frame.sequence}"
        pieces: list[Piece] = [
            frame.pieces[(e.handler_id, e.output)] for e in self.exits if (e.handler_id, e.output) in frame.pieces
        ]
        return compose(self._heading(frame), pieces, url)

    def _heading(self, frame: OpenFrame) -> Heading:
        now = time.monotonic()
        latency_ms = (now - frame.opened) * 1000
        return Heading(self.session_id, frame.sequence, self.plan.epoch, frame.timestamp, latency_ms, now)

    # --- watching ------------------------------------------------------------------------------------

    def picture_exits(self) -> tuple[Exit, ...]:
        """Return the exits made on demand."""
        return tuple((e.handler_id, e.output) for e in self.exits if e.on_demand)

    def _watched(self) -> tuple[Exit, ...]:
        return self.picture_exits() if self._watchers else ()

    def watch(self, delta: int) -> None:
        """A viewer of the video came (1) or went (-1)."""
        with self._lock:
            self._watchers += delta

    def is_open(self, sequence: int) -> bool:
        """Return True while *sequence* is in flight."""
        with self._lock:
            return sequence in self._window.open

    @property
    def in_flight(self) -> int:
        """Frames taken and not yet answered."""
        with self._lock:
            return self.outcomes.books.in_flight

    @property
    def live(self) -> bool:
        """True when the newest frame matters more than each frame."""
        return self._window.delivery is Delivery.LIVE

    # --- the end -------------------------------------------------------------------------------------

    @property
    def moving(self) -> bool:
        """True while another node becomes the entry and may not be it yet."""
        return self.leaving and not self._closed

    def hand_over(self, patience_s: float) -> Books:
        """Take no more frames, finish those in flight within *patience_s*, return the final books.

        What is still open then is dropped: entry_moved. Kept results can be asked for until the entry is closed. New
        frames wait at the door: once it is closed they learn at once that the session is elsewhere.
        """
        with self._lock:
            self.leaving, self._left = True, time.monotonic()
            self._window.pause()
        self.outcomes.wait_until_empty(patience_s)
        with self._lock:
            if not self._closed and self.leaving:
                self.care.drop_all("entry_moved")
                self.outcomes.end()
            return self.outcomes.books.read()

    def look_after(self) -> None:
        """Called each second: care for what is overdue; end a hand-over that nobody came back to.

        Whoever asked for it may be dead. Should a successor be numbering frames all the same, ours are not the same.
        """
        with self._lock:
            if self.leaving and time.monotonic() - self._left > HAND_OVER_S and not self._closed:
                log.warning("session %s: no other entry came: this one goes on", self.session_id)
                self.outcomes.books.begin_at(self.outcomes.books.next_sequence + GAP)
                self._stay()
        self.care.look_after()

    def _stay(self) -> None:
        """Take frames again after all. The lock is held."""
        self.leaving = False
        self._window.pause(paused=False)
        self.outcomes.end(over=False)

    def close(self, *, remove: bool) -> None:
        """End all waiting; with *remove* the books go too."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._window.end()
            self.care.drop_all("session_deleted")
            self.outcomes.end()
            self.outcomes.close(remove=remove)
        self.sender.close()


def _same(pieces: list[Buffer], _: Route) -> list[Buffer]:
    """Return the packet of a frame of the entry: it looks the same on every way."""
    return pieces
