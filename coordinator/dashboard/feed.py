"""The live feed: rows are read at most once a period, however many pages follow.

registry, sessions ─▶ rows (one thread reads, the others take its copy) ─▶ per page: what changed ─▶ server-sent events
"""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from coordinator.dashboard.rows import Rows, change

PERIOD_S = 1.0
QUIET_S = 15.0  # without changes: a comment, so that a page that has gone is noticed
MAX_PAGES = 24  # each holds a thread of the server
RETRY_MS = 1000


class TooManyPages(Exception):
    """No more pages can follow."""


class Feed:
    """Thread-safe. read: returns the rows of now; detail: a session's document, or None when there is none."""

    def __init__(
        self,
        read: Callable[[], Rows],
        detail: Callable[[int], dict[str, Any] | None],
    ) -> None:
        self._read, self._detail = read, detail
        self.serving: Callable[[], bool] = lambda: True  # feeds end when it says no
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._rows, self._read_at = Rows(), float("-inf")
        self._encoded: dict[int, bytes] = {}  # by id of the rows before: changes to now, shared by all pages
        self._pages = 0

    def follow(self, session_id: int | None = None, welcome: Callable[[], bool] = lambda: True) -> Iterator[bytes]:
        """Return the events of a page: `state`, then `change`s; with *session_id* its `session` too.

        Ends when the server stops, or the page is not *welcome* any more. Raises TooManyPages at once.
        """
        with self._lock:
            if self._pages >= MAX_PAGES:
                raise TooManyPages(f"{MAX_PAGES} pages are open")
            self._pages += 1
        return self._events(session_id, welcome)

    def _events(self, session_id: int | None, welcome: Callable[[], bool]) -> Iterator[bytes]:
        try:
            yield f"retry: {RETRY_MS}\n\n".encode()
            shown: Rows | None = None
            spoken, detail = time.monotonic(), b""
            while self.serving() and not self._ended.is_set() and welcome():
                rows = self.rows()
                data = self._news(shown, rows)
                if data:
                    yield event("change" if shown else "state", data)
                shown = rows
                if session_id is not None:
                    found = msgspec.json.encode(self._detail(session_id))
                    if found != detail:
                        yield event("session", found)
                        data = detail = found
                if data:
                    spoken = time.monotonic()
                elif time.monotonic() - spoken > QUIET_S:
                    yield b": still here\n\n"
                    spoken = time.monotonic()
                self._ended.wait(PERIOD_S)  # figures come with heartbeats, all the time
        finally:
            with self._lock:
                self._pages -= 1

    def end(self) -> None:
        """End all pages' events."""
        self._ended.set()

    def rows(self) -> Rows:
        """Return the rows, at most a period old."""
        with self._lock:
            if time.monotonic() - self._read_at >= 0.9 * PERIOD_S:
                self._rows, self._read_at = self._read(), time.monotonic()
                self._encoded = {}
            return self._rows

    def _news(self, old: Rows | None, new: Rows) -> bytes:
        """Return the change from *old* (None: nothing shown yet) as JSON, b"" when there is none."""
        if old is None:
            return msgspec.json.encode(change(Rows(), new))
        with self._lock:
            known = self._encoded.get(id(old)) if new is self._rows else None
        if known is not None or old is new:
            return known or b""
        difference = change(old, new)
        data = msgspec.json.encode(difference) if difference else b""
        with self._lock:
            if new is self._rows:
                self._encoded[id(old)] = data
        return data


def event(name: str, data: bytes) -> bytes:
    """Return a server-sent event; JSON has no newlines. Source: HTML standard, server-sent events."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
