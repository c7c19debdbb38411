"""When a supervised process is started again: its states, and the table of what may follow what. Pure.

STARTING ──ready──▶ RUNNING ──exit──▶ BACKOFF ──due──▶ STARTING
    └─────────────exit──────────────────▲ │
                                          └──give_up──▶ FATAL      (and from anywhere: stop ──▶ STOPPED)
"""

from dataclasses import dataclass
from enum import StrEnum

STABLE_S = 10.0  # who ran for so long starts again without delay when it dies
FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 30.0
MOST_FAILURES = 10  # starts in a row that ended before STABLE_S


class State(StrEnum):
    """Of a supervised process."""

    STARTING, RUNNING, BACKOFF, FATAL, STOPPED = "starting", "running", "backoff", "fatal", "stopped"


class Event(StrEnum):
    """What happens to one."""

    READY, EXIT, DUE, GIVE_UP, STOP = "ready", "exit", "due", "give_up", "stop"


class InvalidTransition(Exception):
    """An event that cannot happen in this state."""


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.STARTING, Event.READY): State.RUNNING,
    (State.STARTING, Event.EXIT): State.BACKOFF,
    (State.RUNNING, Event.EXIT): State.BACKOFF,
    (State.BACKOFF, Event.DUE): State.STARTING,
    (State.BACKOFF, Event.GIVE_UP): State.FATAL,
    **{(state, Event.STOP): State.STOPPED for state in State},
    (State.STOPPED, Event.EXIT): State.STOPPED,
    (State.STOPPED, Event.READY): State.STOPPED,
}


@dataclass(slots=True)
class Restarts:
    """One process's state and when it may start again. Times are time.monotonic()."""

    state: State = State.STARTING
    was_ready: bool = False  # at least once
    failures: int = 0
    started: float = 0.0
    due: float = 0.0

    def transition(self, event: Event) -> None:
        """Take *event*. Raises InvalidTransition."""
        if (self.state, event) not in TRANSITIONS:
            raise InvalidTransition(f"{event} while {self.state}")
        self.state = TRANSITIONS[self.state, event]

    def start(self, now: float) -> None:
        """Note that it is started."""
        if self.state is State.BACKOFF:
            self.transition(Event.DUE)
        self.started = now

    def ready(self) -> None:
        """Note that it said so."""
        self.transition(Event.READY)
        self.was_ready = True

    def exit(self, now: float) -> None:
        """Note that it ended; sets when it is due again, or gives it up."""
        self.transition(Event.EXIT)
        if self.state is not State.BACKOFF:
            return
        stable = self.was_ready and now - self.started >= STABLE_S
        self.failures = 1 if stable else self.failures + 1
        self.due = now if stable else now + min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** (self.failures - 1))
        if self.failures > MOST_FAILURES:
            self.transition(Event.GIVE_UP)
