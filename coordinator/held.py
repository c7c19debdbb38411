"""The sessions that nodes should hold, in memory, so that heartbeats are answered without the database.

The database is the truth: a change is written there first, then put here; merge() takes what others wrote.
"""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from coordinator.records import SessionRecord
from coordinator.sessions import HELD

FRESH_S = 3.0  # what was read longer ago may have been changed by another coordinator


class Held:
    """Thread-safe."""

    def __init__(self) -> None:
        self._sessions: dict[int, SessionRecord] = {}
        self._put_at: dict[int, float] = {}  # session_id -> monotonic s, since the last reading
        self._lock = threading.Lock()
        self._read_at = float("-inf")  # monotonic s

    @property
    def fresh(self) -> bool:
        """Return whether this is what the database had a moment ago."""
        return time.monotonic() - self._read_at < FRESH_S

    def put(self, session: SessionRecord) -> None:
        """Take a session as it was just written."""
        with self._lock:
            self._put_at[session.session_id] = time.monotonic()
            if session.state in HELD:
                self._sessions[session.session_id] = session
            else:
                self._sessions.pop(session.session_id, None)

    def merge(self, rows: Iterable[SessionRecord], begun: float) -> None:
        """Take the rows of a reading that was *begun* then (monotonic s); what was put or taken away since then stays
        so. When rows say that they were written counts for nothing: clocks of machines differ.
        """
        found = {row.session_id: row for row in rows}
        with self._lock:
            self._read_at = time.monotonic()
            self._put_at = {i: at for i, at in self._put_at.items() if at >= begun}
            own = {i: s for i, s in self._sessions.items() if i in self._put_at}
            self._sessions = {i: s for i, s in found.items() if i not in self._put_at} | own

    def get(self, session_id: int) -> SessionRecord | None:
        """Return the session, or None when no node should hold it."""
        with self._lock:
            return self._sessions.get(session_id)

    def all(self) -> list[SessionRecord]:
        """Return all, by id."""
        with self._lock:
            return [self._sessions[i] for i in sorted(self._sessions)]


class Locks:
    """One lock per session: a change is carried out whole before the next begins."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[threading.Lock, int]] = {}  # session_id -> lock, who hold it or wait
        self._lock = threading.Lock()

    def busy(self, session_id: int) -> bool:
        """Return True while somebody changes the session."""
        with self._lock:
            return session_id in self._held

    @contextmanager
    def hold(self, session_id: int) -> Iterator[None]:
        """Wait for the session's lock and hold it."""
        with self._lock:
            lock, users = self._held.get(session_id, (threading.Lock(), 0))
            self._held[session_id] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, users = self._held.pop(session_id)
                if users > 1:
                    self._held[session_id] = (lock, users - 1)
