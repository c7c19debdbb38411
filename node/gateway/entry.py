"""The entry of one session: numbers frames, keeps them until their results are there, hands results out.

    connection threads ── admit ─▶ window ── open ─▶ dispatch ─▶ first handler (inbox or hop)
    inbox thread       ── report ─▶ window ─▶ kept results ─▶ waiting threads, streams, video

One lock guards window, books and kept results; dispatching has a lock of its own, so that frames leave in the order
of their sequence. Bounds: `window` open frames; kept results as results.Kept says; live: one waiting frame.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from node.forward import Forwarder
from node.gateway.books import BooksFile
from node.gateway.results import Exit, Heading, Kept, Piece, Result, compose, failure, piece_of
from node.gateway.window import Content, OpenFrame, Ticket, Window
from node.routing import Target, replicas_of, targets_of
from wire import packet
from wire.graph import Topology
from wire.messages import Books, Delivery, Encoding, FrameStatus, ResultSpec, SessionPlan
from wire.packet import Header, Packet, PacketError, Span

log = logging.getLogger(__name__)

RESEND_S, DROP_S = 15.0, 60.0  # without a result: send again, then give up
MAX_BLAMES = 2  # a frame that a handler died with so often is set aside
Key = tuple[str, str]  # a client's own name and number of a frame
RECENT = 512  # results that the latency figures are made of


class Dropped(Exception):
    """A newer frame took this one's place (live)."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.body.get("reason", ""))
        self.result = result


class Ended(Exception):
    """The session ended here while the frame waited."""


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
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._dispatching = threading.RLock()
        self._books = BooksFile(books_path, plan.entry.first_sequence)
        self._books_path = books_path
        self._window = Window(plan.window, plan.delivery)
        self._kept = Kept()
        self._waiters: dict[int, threading.Event] = {}
        self._latencies: deque[float] = deque(maxlen=RECENT)
        self._finishes: deque[float] = deque(maxlen=RECENT)
        self._watchers = 0
        self._closed = False
        self.source_ended = False
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
            self.targets = (Target(handler_id, topology.entry_input, inputs, routes, Encoding.RAW, whole),)

    def update(self, plan: SessionPlan) -> None:
        """Take a newer plan; unanswered frames are sent again under it when old ones are not welcome, or exits differ.

        That happens in a thread of its own: it may have to wait for nodes that learn of the plan after this one.
        """
        with self._lock:
            raised = plan.accept_from > self.plan.accept_from
            self._set_plan(plan)
            self._window.resize(plan.window, plan.delivery)
            through, changed = self._window.expect(self._always(), self.picture_exits())
            for frame in through:
                self._finish(frame, self._compose(frame))
        if raised or changed:
            self._resend_soon()

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
            now, sequence = time.monotonic(), self._books.take()
            heading = Heading(self.session_id, sequence, self.plan.epoch, time.time(), 0.0, now)
            result = failure(heading, FrameStatus.DROPPED, reason)
            self._books.drop(reason)
            self._kept.add(result, None, now)
            self._changed.notify_all()
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
        with self._dispatching:
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
            if key is not None and (known := self.known(key)) is not None:
                raise Repeated(known)
            wanted = tuple(dict.fromkeys([*want, *self._watched()]))
            expects = frozenset((e.handler_id, e.output) for e in self.exits if not e.on_demand) | frozenset(wanted)
            taken = time.time() if timestamp is None else timestamp
            frame = OpenFrame(self._books.take(), taken, time.monotonic(), wanted, key, content, expects)
            self._window.put(ticket, frame)
            self._waiters[frame.sequence] = threading.Event()
            return frame

    def _check_living(self) -> None:
        if self._closed:
            raise Ended

    @property
    def dispatching(self) -> threading.RLock:
        """The lock under which frames are numbered and sent, so that they leave in order."""
        return self._dispatching

    def header(self, frame: OpenFrame, target: Target) -> Header:
        """Return the header of *frame* for *target* under the current plan."""
        return Header(
            session_id=self.session_id,
            epoch=self.plan.epoch,
            sequence=frame.sequence,
            timestamp=frame.timestamp,
            origin=self.plan.entry.node_id,
            want=list(frame.want),
            trace=frame.trace,
            payload=frame.content[0],
            handler_id=target.handler_id,
            port=target.port,
        )

    def dispatch(self, frame: OpenFrame) -> None:
        """Send *frame* to the first handlers; waits while they are full. A frame that cannot be sent fails."""
        try:
            self._send(frame)
        except (PacketError, OSError) as error:
            log.exception("session %s: frame %s cannot be sent", self.session_id, frame.sequence)
            with self._lock:
                if frame.sequence in self._window.open:
                    reason = f"cannot be sent: {error}"
                    self._finish(frame, failure(self._heading(frame), FrameStatus.FAILED, reason, broken=True))

    def _send(self, frame: OpenFrame) -> None:
        for target in self.targets:
            header = self.header(frame, target)
            if target.needed(header):
                route = self.sender.route(self.session_id, target, frame.sequence)
                where = (self.session_id, target.handler_id, target.port)
                pieces = packet.encode(header, frame.content[1])
                self.sender.to_handler(route, where, target.inputs, pieces, lambda: frame.sequence in self._window.open)

    def _resend_soon(self, frames: list[OpenFrame] | None = None) -> None:
        threading.Thread(target=self.resend, args=(frames,), name="resend", daemon=True).start()

    def resend(self, frames: list[OpenFrame] | None = None) -> None:
        """Send unanswered frames again, in order; all of them by default."""
        with self._dispatching:
            with self._lock:
                again = list(self._window.open.values()) if frames is None else frames
            for frame in sorted(again, key=lambda f: f.sequence):
                with self._lock:
                    if frame.sequence not in self._window.open:
                        continue
                    self._books.resend()
                    frame.resent = time.monotonic()
                self.dispatch(frame)

    def handler_lost(self, handler_id: int, blame: int | None) -> None:
        """A handler died and is back: send again what it may have held; set aside a frame that kills."""
        with self._lock:
            frame = self._window.open.get(blame) if blame is not None else None
            if frame is not None:
                frame.blames += 1
                if frame.blames >= MAX_BLAMES:
                    reason = f"handler {handler_id} died {frame.blames} times with this frame"
                    self._finish(frame, failure(self._heading(frame), FrameStatus.FAILED, reason, broken=True))
        self.resend()

    def handler_gave_up(self, handler_id: int, reason: str) -> None:
        """A handler is gone for good: nothing in flight can be answered until the session is placed anew."""
        with self._lock:
            for frame in list(self._window.open.values()):
                text = f"handler {handler_id}: {reason}"
                self._finish(frame, failure(self._heading(frame), FrameStatus.FAILED, text, broken=True))

    # --- results -------------------------------------------------------------------------------------

    def report(self, arrived: Packet) -> None:
        """Take what an exit says of a frame; repeats and strangers change nothing."""
        header = arrived.header
        piece = piece_of(arrived)
        with self._lock:
            frame = self._window.report(header.sequence, (header.handler_id, header.port), piece)
            if frame is not None:
                self._finish(frame, self._compose(frame))

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

    def _finish(self, frame: OpenFrame, result: Result) -> None:
        """Book the result, keep it, wake who waits. The lock is held."""
        if result.status is FrameStatus.DROPPED:
            self._books.drop(str(result.body.get("reason", "dropped")))
        else:
            self._books.deliver()
            self._latencies.append(result.body["latency_ms"])
            self._finishes.append(result.finished)
        answered = result.status is not FrameStatus.DROPPED  # what was dropped may be sent again
        self._kept.add(result, frame.key if answered else None, result.finished)
        self._window.close(frame.sequence)
        self._waiters.pop(frame.sequence).set()
        self._changed.notify_all()

    def wait(self, sequence: int, patience_s: float) -> Result | None:
        """Return the result of *sequence*, waiting for it up to *patience_s*."""
        with self._lock:
            waiter = self._waiters.get(sequence)
        if waiter is not None:
            waiter.wait(patience_s)
        with self._lock:
            return self._kept.get(sequence)

    def is_open(self, sequence: int) -> bool:
        """Return True while *sequence* is in flight."""
        with self._lock:
            return sequence in self._window.open

    def known(self, key: Key) -> int | None:
        """Return the sequence of the frame that a client called *key*, in flight or kept."""
        with self._lock:
            kept = self._kept.by_key(key)
            if kept is not None:
                return kept.sequence
            return next((f.sequence for f in self._window.open.values() if f.key == key), None)

    def stream(self, after: int, idle_s: float) -> Iterator[Result | None]:
        """Yield results with a sequence above *after* in order, each once; None after *idle_s* of silence.

        Ends with the session or its source, after the last result.
        """
        while True:
            with self._changed:
                ready = self._released(after)
                if not ready and not self._over:
                    self._changed.wait(idle_s)
                    ready = self._released(after)
                if not ready and self._over:
                    return
            for result in ready:
                after = result.sequence
                yield result
            if not ready:
                yield None

    def end_source(self) -> None:
        """The source has no more frames."""
        with self._changed:
            self.source_ended = True
            self._changed.notify_all()

    @property
    def _over(self) -> bool:
        """True when no result will come any more."""
        return self._closed or (self.source_ended and not self._window.open)

    def _released(self, after: int) -> list[Result]:
        horizon = self._window.horizon()
        found = self._kept.after(after, limit=64)
        return found if horizon is None else [r for r in found if r.sequence < horizon]

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

    # --- care ----------------------------------------------------------------------------------------

    def look_after(self) -> None:
        """Send again or drop what is overdue; called each second."""
        now = time.monotonic()
        with self._lock:
            again, lost = self._window.overdue(now, RESEND_S, DROP_S)
            for frame in lost:
                self._finish(frame, failure(self._heading(frame), FrameStatus.DROPPED, "no_result"))
            for frame in again:
                frame.resent = now
        if again:
            self._resend_soon(again)

    def books(self) -> Books:
        """Return the session's accounts."""
        with self._lock:
            return self._books.read()

    def figures(self) -> tuple[dict[str, float], float | None]:
        """Return (latency p50, p95, p99 in ms; frames per second) over the last results."""
        with self._lock:
            latencies, finishes = sorted(self._latencies), list(self._finishes)
        if not latencies:
            return {}, None
        figures = {name: latencies[min(len(latencies) - 1, int(q * len(latencies)))] for name, q in _QUANTILES}
        recent = [t for t in finishes if time.monotonic() - t < 5.0]
        return figures, len(recent) / 5.0

    @property
    def in_flight(self) -> int:
        """Frames taken and not yet answered."""
        with self._lock:
            return self._books.in_flight

    def close(self, *, remove: bool) -> None:
        """End all waiting; with *remove* the books go too."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._window.end()
            for frame in list(self._window.open.values()):
                self._finish(frame, failure(self._heading(frame), FrameStatus.DROPPED, "session_deleted"))
            self._changed.notify_all()
            self._books.close()
        self.sender.close()
        if remove:
            self._books_path.unlink(missing_ok=True)

    @property
    def live(self) -> bool:
        """True when the newest frame matters more than each frame."""
        return self._window.delivery is Delivery.LIVE


_QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
