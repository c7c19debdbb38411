"""Handlers' processes that died and are back: what of that belongs into a session's history. Pure.

A node mends such a death by itself, and its heartbeats say how often, and why the last time. One event per handler and
minute is enough: a handler that dies with each second frame would fill the table.
"""

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from coordinator.records import EventRecord, SessionRecord
from wire.messages import Heartbeat

EVENT = "restarted"  # the event's name; its detail is a Death
TELL_S = 60.0  # between two events about the same handler

Place = tuple[int, int, int]  # session_id, handler_id, node_id


class Death(Struct, frozen=True, kw_only=True):
    """A handler of a session, as a node reports it."""

    handler_id: int
    node_id: int
    restarts: int  # of this handler there so far
    why: str  # its last process ended


def reported(session: SessionRecord, alive: Mapping[int, Heartbeat]) -> Iterator[Death]:
    """Yield the handlers of *session* that have died and are back."""
    for node_id in sorted(session.plan.used() & alive.keys()):
        for part in alive[node_id].sessions:
            if part.session_id == session.session_id:
                for handler in part.handlers:
                    if handler.restarts and handler.died is not None:
                        yield Death(
                            handler_id=handler.handler_id,
                            node_id=node_id,
                            restarts=handler.restarts,
                            why=handler.died,
                        )


class Told:
    """What the history has. Times: monotonic s."""

    def __init__(self) -> None:
        self._last: dict[Place, tuple[int, float]] = {}  # restarts, when that was told
        self._known: set[int] = set()  # sessions whose history was read

    def knows(self, session_id: int) -> bool:
        """Return whether the session's history was read."""
        return session_id in self._known

    def learn(self, session_id: int, events: Iterable[EventRecord]) -> None:
        """Take what the history of a session has: another coordinator may have written it."""
        self._known.add(session_id)
        for event in events:
            where = (session_id, event.detail.get("handler_id", -1), event.detail.get("node_id", -1))
            self._last[where] = (event.detail.get("restarts", 0), float("-inf"))

    def due(self, session_id: int, death: Death, at: float) -> bool:
        """Return whether the history lacks *death*, and may have it now. Fewer restarts: it left and came back."""
        restarts, when = self._last.get(_place(session_id, death), (0, float("-inf")))
        return death.restarts != restarts and at - when >= TELL_S

    def note(self, session_id: int, death: Death, at: float) -> None:
        """The history has *death*."""
        self._last[_place(session_id, death)] = (death.restarts, at)

    def forget(self, sessions: Iterable[int]) -> None:
        """Keep *sessions* alone."""
        kept = set(sessions)
        self._known &= kept
        self._last = {place: told for place, told in self._last.items() if place[0] in kept}


def _place(session_id: int, death: Death) -> Place:
    return session_id, death.handler_id, death.node_id
