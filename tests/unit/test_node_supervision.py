"""When a dead child is started again."""

import pytest

from node.processes.supervision import BACK_OFF_S, ChildEvent, ChildState, Deaths, InvalidChildTransition, transition


def test_quick_deaths_back_off_and_end() -> None:
    deaths = Deaths()
    assert [deaths.delay(0.1, 0) for _ in range(6)] == [0.0, 0.5, 1.0, 2.0, 4.0, None]


def test_a_life_with_work_done_is_no_quick_death() -> None:
    deaths = Deaths()
    for _ in range(4):
        deaths.delay(0.1, 0)
    assert deaths.delay(0.1, frames=1) == BACK_OFF_S[0]
    assert deaths.delay(0.1, frames=0) == BACK_OFF_S[1]


def test_a_long_life_begins_anew() -> None:
    deaths = Deaths()
    assert [deaths.delay(60.0, 0) for _ in range(10)] == [0.0] * 10


def test_the_gateway_is_never_given_up() -> None:
    deaths = Deaths(gives_up=False)
    assert [deaths.delay(0.0, 0) for _ in range(20)][-1] == BACK_OFF_S[-1]


def test_the_states_of_a_child() -> None:
    state = ChildState.STARTING
    for event in (ChildEvent.READY, ChildEvent.DIED, ChildEvent.RETRY, ChildEvent.DIED, ChildEvent.GIVE_UP):
        state = transition(state, event)
    assert state is ChildState.FAILED
    assert transition(state, ChildEvent.END) is ChildState.ENDED
    with pytest.raises(InvalidChildTransition, match="ready while failed"):
        transition(ChildState.FAILED, ChildEvent.READY)


def test_a_gateway_that_served_a_while_is_restarted_at_once() -> None:
    """Its deaths in a row are others' faults: clients wait for it."""
    deaths = Deaths(gives_up=False)
    assert [deaths.delay(lived_s=2.0, frames=0) for _ in range(8)] == [0.0] * 8
    assert [deaths.delay(lived_s=0.2, frames=0) for _ in range(3)] == [0.5, 1.0, 2.0]
