"""The life of a session: every state, every event, every transition. Pure."""

from enum import StrEnum

from wire.messages import Running


class State(StrEnum):
    """degraded: a handler is down and no other place is found yet; failed: for good, with a reason."""

    INITIALIZED, RUNNING, DEGRADED, STOPPED = "initialized", "running", "degraded", "stopped"
    FAILED, DELETED = "failed", "deleted"


class Event(StrEnum):
    """What happens to a session. LOSE: a node of it is gone; RECOVER: all its handlers run again."""

    START, STOP, LOSE, RECOVER, FAIL, DELETE = "start", "stop", "lose", "recover", "fail", "delete"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.INITIALIZED, Event.START): State.RUNNING,
    (State.INITIALIZED, Event.LOSE): State.INITIALIZED,
    (State.INITIALIZED, Event.RECOVER): State.INITIALIZED,
    (State.INITIALIZED, Event.FAIL): State.FAILED,
    (State.INITIALIZED, Event.DELETE): State.DELETED,
    (State.RUNNING, Event.STOP): State.STOPPED,
    (State.RUNNING, Event.LOSE): State.DEGRADED,
    (State.RUNNING, Event.RECOVER): State.RUNNING,
    (State.RUNNING, Event.FAIL): State.FAILED,
    (State.RUNNING, Event.DELETE): State.DELETED,
    (State.DEGRADED, Event.STOP): State.STOPPED,
    (State.DEGRADED, Event.LOSE): State.DEGRADED,
    (State.DEGRADED, Event.RECOVER): State.RUNNING,
    (State.DEGRADED, Event.FAIL): State.FAILED,
    (State.DEGRADED, Event.DELETE): State.DELETED,
    (State.STOPPED, Event.DELETE): State.DELETED,
    (State.FAILED, Event.DELETE): State.DELETED,
    (State.DELETED, Event.DELETE): State.DELETED,
}

HELD = frozenset({State.INITIALIZED, State.RUNNING, State.DEGRADED, State.STOPPED})  # nodes keep their parts
PLACED = frozenset({State.INITIALIZED, State.RUNNING, State.DEGRADED})  # handlers are kept alive somewhere

WANTED: dict[State, Running] = {
    State.INITIALIZED: Running.INITIALIZED,
    State.RUNNING: Running.RUNNING,
    State.DEGRADED: Running.RUNNING,
    State.STOPPED: Running.STOPPED,
}


class InvalidTransition(ValueError):
    """This event cannot happen in this state: "stop while stopped"."""


def transition(state: State, event: Event) -> State:
    """Return the state after *event*. Raises InvalidTransition."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise InvalidTransition(f"{event} while {state}") from None
