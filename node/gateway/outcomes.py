"""Results on their way out of one session: booked, kept for repeats, handed to those who wait.

    finish ─▶ index file ─▶ books ─▶ kept ─▶ waiting posts, streams, video

`lock` guards all of it, and the entry's window. The index is written first, so that what was answered is known to the
next gateway; the count in each of its records mends books that a kill kept from following.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from pathlib import Path

from node.gateway.books import AT_ENTRY, BooksFile
from node.gateway.index import IndexFile, Key, Record
from node.gateway.results import Kept, Result
from node.gateway.window import OpenFrame, Window
from node.reporting.tally import LATENCY_S, Tally
from wire.messages import Books, FrameStatus

RECENT = 512  # results that the figures are made of, at most
FRESH_S, LEAST_RESULTS = 10.0, 16  # latency figures: of the results so fresh; of so many where these are fewer
FPS_OVER_S = 5.0
_QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


class Outcomes:
    """What has become of the session's frames."""

    def __init__(self, window: Window, books_path: Path, first_sequence: int) -> None:
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._window = window
        self._books_path = books_path
        self._index = IndexFile(books_path.with_name(books_path.name.replace("books", "results", 1)))
        self._kept = Kept()
        answered = self._recall()
        self.books = BooksFile(books_path, first_sequence, answered)
        self._waiters: dict[int, threading.Event] = {}
        self._wakes: defaultdict[int, list[Callable[[], None]]] = defaultdict(list)
        self.latency = Tally(LATENCY_S)
        self._latencies: deque[float] = deque(maxlen=RECENT)
        self._finishes: deque[float] = deque(maxlen=RECENT)
        self.source_ended = False
        self.over = False  # no result will come any more

    def _recall(self) -> int:
        """Keep what a killed gateway had answered; returns how many frames it had delivered."""
        found, now = self._index.found, time.monotonic()
        for record in found:
            self._kept.add(record.result, record.key, now)
        self._index.found = []
        return max((record.delivered for record in found), default=0)

    # --- frames come to their end; the lock is held --------------------------------------------------

    def opened(self, sequence: int) -> None:
        """A frame is in flight: somebody may wait for it."""
        self._waiters[sequence] = threading.Event()

    def finish(self, frame: OpenFrame, result: Result) -> None:
        """Take the result of an open frame."""
        answered = result.status is not FrameStatus.DROPPED  # what was dropped may be sent again
        if answered:
            self._latencies.append(result.latency_ms)
            self.latency.add(result.latency_ms / 1000)
            self._finishes.append(result.finished)
        if result.status is FrameStatus.OK:
            self._window.answered(result.latency_ms)
        self._settle(result, frame.key if answered else None)
        self._window.close(frame.sequence)
        self._waiters.pop(frame.sequence).set()
        for wake in self._wakes.pop(frame.sequence, ()):
            wake()

    def lost(self, result: Result) -> None:
        """Take the result of a frame that was dropped before it was opened."""
        self._settle(result, None)

    def _settle(self, result: Result, key: Key | None) -> None:
        delivered = result.status is not FrameStatus.DROPPED
        self._index.add(Record(result, key, self.books.delivered + delivered))
        if delivered:
            self.books.deliver()
        else:
            place = AT_ENTRY if result.ended_by is None else result.ended_by
            self.books.drop(result.reason or "dropped", place=place)
        self._kept.add(result, key, result.finished)
        self._changed.notify_all()

    # --- those who wait ------------------------------------------------------------------------------

    def wait(self, sequence: int, patience_s: float) -> Result | None:
        """Return the result of *sequence*, waiting for it up to *patience_s*."""
        with self.lock:
            waiter = self._waiters.get(sequence)
        if waiter is not None:
            waiter.wait(patience_s)
        with self.lock:
            return self._kept.get(sequence)

    def call_when_done(self, sequence: int, wake: Callable[[], None]) -> None:
        """Call *wake*, which must not block, as soon as *sequence* is not open any more; that may be now."""
        with self.lock:
            if sequence in self._waiters:
                self._wakes[sequence].append(wake)
                return
        wake()

    def wait_until_empty(self, patience_s: float) -> None:
        """Wait until no frame is open, up to *patience_s*."""
        with self._changed:
            self._changed.wait_for(lambda: not self._window.open, patience_s)

    def known(self, key: Key) -> int | None:
        """Return the sequence of the frame that a client called *key*, in flight or kept."""
        with self.lock:
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
                if not ready and not self._ended:
                    self._changed.wait(idle_s)
                    ready = self._released(after)
                if not ready and self._ended:
                    return
            for result in ready:
                after = result.sequence
                yield result
            if not ready:
                yield None

    @property
    def _ended(self) -> bool:
        return self.over or (self.source_ended and not self._window.open)

    def _released(self, after: int) -> list[Result]:
        horizon = self._window.horizon()
        found = self._kept.after(after, limit=64)
        return found if horizon is None else [r for r in found if r.sequence < horizon]

    def end_source(self) -> None:
        """The source has no more frames."""
        with self._changed:
            self.source_ended = True
            self._changed.notify_all()

    def end(self, *, over: bool = True) -> None:
        """End the streams after their last results; not *over*: results come again."""
        with self._changed:
            self.over = over
            self._changed.notify_all()

    # --- accounts ------------------------------------------------------------------------------------

    def read_books(self) -> Books:
        """Return the session's accounts."""
        with self.lock:
            return self.books.read()

    def figures(self) -> tuple[dict[str, float], float | None]:
        """Return (latency p50, p95, p99 in ms; frames per second) of now: old results say nothing about it."""
        now = time.monotonic()
        with self.lock:
            results = list(zip(self._latencies, self._finishes, strict=True))
        if not results:
            return {}, None
        fresh = sum(now - finished < FRESH_S for _, finished in results)
        latencies = sorted(latency for latency, _ in results[-max(fresh, LEAST_RESULTS) :])
        figures = {name: latencies[min(len(latencies) - 1, int(q * len(latencies)))] for name, q in _QUANTILES}
        recent = sum(now - finished < FPS_OVER_S for _, finished in results)
        return figures, recent / FPS_OVER_S

    def close(self, *, remove: bool) -> None:
        """Close the files; with *remove* they go. The lock is held."""
        self.books.close()
        self._index.close(remove=remove)
        if remove:
            self._books_path.unlink(missing_ok=True)
