"""The sessions that a node holds, and which changed or ended lately; for several threads."""

import threading
import time

from node.held import Held
from node.sessions import Ended, SessionInUse, UnknownSession

CHANGED_FOR_S = 60.0  # how long a change is remembered


class Roster:
    """Sessions by their id. What is in one belongs to whoever has its lock."""

    def __init__(self) -> None:
        self._sessions: dict[int, Held] = {}
        self._changed_at: dict[int, float] = {}  # monotonic, s: the last change by the API, also of ended sessions
        self._ended = Ended()
        self._lock = threading.Lock()  # of the three above

    def hold(self, new: Held) -> Held:
        """Return the session held under that id, *new* where there is none. Raises SessionInUse."""
        with self._lock:
            held = self._sessions.setdefault(new.session_id, new)
            if held is not new and (held.older or new.older):
                raise SessionInUse(f"session {new.session_id} is in use here")
            return held

    def get(self, session_id: int) -> Held | None:
        """Return the session held under that id."""
        return self._sessions.get(session_id)

    def find(self, session_id: int) -> Held:
        """Return the session held under that id. Raises UnknownSession."""
        held = self._sessions.get(session_id)
        if held is None:
            raise UnknownSession(f"no session {session_id} on this node")
        return held

    def must_hold(self, held: Held) -> None:
        """Raise UnknownSession when *held* is not the session of its id any more."""
        if self._sessions.get(held.session_id) is not held:
            raise UnknownSession(f"session {held.session_id} was deleted meanwhile")

    def all(self) -> list[Held]:
        """Return all sessions, by id."""
        with self._lock:
            return sorted(self._sessions.values(), key=lambda s: s.session_id)

    def end(self, held: Held) -> bool:
        """Hold *held* no more, and remember that its epoch was ended here; False when it was not held any more."""
        with self._lock:
            if self._sessions.get(held.session_id) is not held:
                return False
            del self._sessions[held.session_id]
            self._ended.note(held.session_id, held.plan.epoch, time.monotonic())
            return True

    def clear(self) -> list[Held]:
        """Hold nothing any more; return what was held."""
        with self._lock:
            held = list(self._sessions.values())
            self._sessions.clear()
            return held

    def touch(self, session_id: int) -> None:
        """Note that the API changes the session now."""
        with self._lock:
            now = time.monotonic()
            self._changed_at = {s: t for s, t in self._changed_at.items() if now - t < CHANGED_FOR_S}
            self._changed_at[session_id] = now

    def changed_since(self, session_id: int, moment: float) -> bool:
        """Return True when the API has changed the session since *moment* (monotonic, s), or is at it."""
        with self._lock:
            held = self._sessions.get(session_id)
            recent = self._changed_at.get(session_id, -1.0) >= moment
        if held is None or recent:
            return recent
        if not held.lock.acquire(blocking=False):
            return True
        held.lock.release()
        return False

    def ended(self, session_id: int, epoch: int) -> bool:
        """Return True when this node was lately told to end that epoch of the session."""
        with self._lock:
            return self._ended.covers(session_id, epoch, time.monotonic())
