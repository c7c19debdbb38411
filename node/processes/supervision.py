"""The life of a supervised child process, as decisions. Pure."""

from enum import StrEnum

BACK_OFF_S = (0.0, 0.5, 1.0, 2.0, 4.0)  # before the 1st, 2nd, ... restart in a row
STEADY_S = 10.0  # a life this long was no quick death
GATEWAY_STEADY_S = 1.0  # a gateway finishes no frames of its own; what keeps it from serving kills it sooner


class ChildState(StrEnum):
    """RUNNING means that it has said it is ready."""

    STARTING, RUNNING, BACKOFF, FAILED, ENDED = "starting", "running", "backoff", "failed", "ended"


class ChildEvent(StrEnum):
    READY, DIED, RETRY, GIVE_UP, END = "ready", "died", "retry", "give_up", "end"


TRANSITIONS = {
    (ChildState.STARTING, ChildEvent.READY): ChildState.RUNNING,
    (ChildState.STARTING, ChildEvent.DIED): ChildState.BACKOFF,
    (ChildState.RUNNING, ChildEvent.DIED): ChildState.BACKOFF,
    (ChildState.BACKOFF, ChildEvent.RETRY): ChildState.STARTING,
    (ChildState.BACKOFF, ChildEvent.GIVE_UP): ChildState.FAILED,
    (ChildState.STARTING, ChildEvent.END): ChildState.ENDED,
    (ChildState.RUNNING, ChildEvent.END): ChildState.ENDED,
    (ChildState.BACKOFF, ChildEvent.END): ChildState.ENDED,
    (ChildState.FAILED, ChildEvent.END): ChildState.ENDED,
    (ChildState.ENDED, ChildEvent.END): ChildState.ENDED,
}


class InvalidChildTransition(RuntimeError):
    """A fault of the supervisor itself."""


def transition(state: ChildState, event: ChildEvent) -> ChildState:
    """Return the state after *event*. Raises InvalidChildTransition."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise InvalidChildTransition(f"{event} while {state}") from None


class Deaths:
    """Counts quick deaths in a row: lives too short to be steady in which nothing was finished."""

    def __init__(self, *, gives_up: bool = True) -> None:
        """Without *gives_up* it is a gateway, which is restarted for ever."""
        self._gives_up = gives_up
        self._steady_s = STEADY_S if gives_up else GATEWAY_STEADY_S
        self._quick = 0

    def delay(self, lived_s: float, frames: int) -> float | None:
        """Note a death after *lived_s* in the ready state with *frames* finished.

        Returns how long to wait before the restart, or None when there have been too many.
        """
        steady = lived_s >= self._steady_s or frames > 0
        self._quick = 1 if steady else self._quick + 1
        if self._quick <= len(BACK_OFF_S):
            return BACK_OFF_S[self._quick - 1]
        return None if self._gives_up else BACK_OFF_S[-1]
