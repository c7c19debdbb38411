"""When a supervised daemon is started again."""

import pytest

from wire.restarts import MOST_FAILURES, STABLE_S, Event, InvalidTransition, Restarts, State


def running(now: float) -> Restarts:
    child = Restarts()
    child.start(now)
    child.ready()
    return child


def test_one_that_was_stable_starts_again_at_once() -> None:
    child = running(0.0)
    child.exit(STABLE_S)
    assert (child.state, child.due) == (State.BACKOFF, STABLE_S)
    child.start(STABLE_S)
    assert child.state is State.STARTING


def test_one_that_dies_young_waits_longer_each_time_and_is_given_up() -> None:
    child = running(0.0)
    delays, now = [], 0.0
    while True:
        child.exit(now)
        if child.state is State.FATAL:
            break
        delays.append(child.due - now)
        now = child.due
        child.start(now)
    assert delays[:4] == [0.5, 1.0, 2.0, 4.0] and max(delays) == 30.0 and len(delays) == MOST_FAILURES


def test_a_stopped_one_stays_stopped() -> None:
    child = running(0.0)
    child.transition(Event.STOP)
    child.exit(1.0)
    assert child.state is State.STOPPED


def test_an_event_at_the_wrong_time_is_an_error() -> None:
    with pytest.raises(InvalidTransition, match="due while running"):
        running(0.0).transition(Event.DUE)
