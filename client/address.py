"""Where a session's frames go, now: its entry may move while frames are under way."""

import threading
import time
from dataclasses import dataclass

from client.coordinator import Coordinator, Session
from client.errors import CoordinatorAway, Refused, SessionGone

ASK_PERIOD_S = 0.25  # many frames may be cut at once; one question is enough


@dataclass(frozen=True, slots=True)
class Urls:
    """A session's addresses."""

    frames: str
    results: str


def usable(session: Session) -> Urls:
    """Return the addresses of a session that takes frames, or will soon. Raises SessionGone."""
    if session.state in ("running", "degraded"):
        return Urls(session.session_url, session.results_url)
    name = f"session {session.session_id}"
    if session.state in ("initialized", "stopped"):
        raise SessionGone(f"{name} is {session.state}: start it (POST /sessions/{session.session_id}/start)")
    reason = f" ({session.reason})" if session.reason else ""
    raise SessionGone(f"{name} is {session.state}{reason}: create another")


class Address:
    """The session's addresses, asked again of the coordinator when they do not work; safe for threads."""

    def __init__(self, urls: Urls, coordinator: Coordinator | None = None, session_id: int | None = None) -> None:
        self._urls = urls
        self._coordinator = coordinator
        self._session_id = session_id
        self._lock = threading.Lock()
        self._asked = float("-inf")

    @property
    def urls(self) -> Urls:
        return self._urls

    @property
    def can_ask(self) -> bool:
        """True when there is a coordinator that knows the session."""
        return self._coordinator is not None and self._session_id is not None

    def renew(self, failed: Urls) -> None:
        """Ask the coordinator, unless *failed* is old already or another thread has just asked.

        A coordinator that is away changes nothing: the session lives without it. Raises SessionGone.
        """
        if self._coordinator is None or self._session_id is None:
            return
        with self._lock:
            if self._urls != failed or time.monotonic() - self._asked < ASK_PERIOD_S:
                return
            try:
                self._urls = usable(self._coordinator.session(self._session_id))
            except CoordinatorAway:
                pass
            except Refused as error:
                if error.status == 404:
                    raise SessionGone(f"session {self._session_id} is not there any more: create another") from error
                if error.status < 500:
                    raise
            finally:
                self._asked = time.monotonic()
