"""Which nodes are overloaded, and who looks for a better place because of it."""

import pytest

from coordinator.overload import OVERLOAD, OVERLOAD_S, SOON_S, Overload
from coordinator.watch import LOOK_S, Watch

FULL, IDLE = OVERLOAD, OVERLOAD - 1
LATER = 100.0  # s


def note(overload: Overload, loads: dict[int, float], at: float, cordoned: int | None = None) -> None:
    overload.note(loads, [n for n in loads if n != cordoned], at)


def known(*loads: float, since: float = 0.0) -> Overload:
    """Return what is known of nodes 1, 2 ... that have had these loads since then."""
    overload = Overload()
    for at in (since, LATER):
        note(overload, dict(enumerate(loads, 1)), at)
    return overload


def next_look(overload: Overload, *used: int) -> float:
    watch = Watch(next_look=LATER + LOOK_S)
    overload.hurry(watch, used, LATER)
    return watch.next_look


@pytest.mark.parametrize(
    ("loads", "nowhere"), [((FULL, FULL), True), ((FULL, IDLE), False), ((IDLE,), False), ((), True)]
)
def test_there_is_nowhere_to_go_when_every_node_is_overloaded(loads: tuple[float, ...], *, nowhere: bool) -> None:
    assert known(*loads).nowhere is nowhere


def test_a_node_is_overloaded_only_after_some_seconds_without_a_break() -> None:
    assert not known(FULL, FULL, since=LATER - OVERLOAD_S + 0.1).nowhere
    overload = known(FULL, FULL)
    note(overload, {1: FULL, 2: IDLE}, LATER + 1)
    note(overload, {1: FULL, 2: FULL}, LATER + 2)
    assert not overload.nowhere


def test_a_node_that_takes_no_new_handlers_is_no_room() -> None:
    overload = known(FULL, IDLE)
    note(overload, {1: FULL, 2: IDLE}, LATER, cordoned=2)
    assert overload.nowhere
    assert next_look(overload, 1) == LATER + LOOK_S


def test_sessions_leave_an_overloaded_node_that_takes_no_new_handlers_soon_too() -> None:
    overload = known(FULL, IDLE)
    note(overload, {1: FULL, 2: IDLE}, LATER, cordoned=1)
    assert next_look(overload, 1) == LATER + SOON_S


def test_sessions_of_an_overloaded_node_are_looked_at_soon_and_others_at_their_time() -> None:
    overload = known(FULL, IDLE)
    assert next_look(overload, 1, 2) == LATER + SOON_S
    assert next_look(overload, 2) == LATER + LOOK_S


def test_nobody_hurries_where_no_node_has_room() -> None:
    overload = known(FULL, IDLE)
    note(overload, {1: FULL, 2: FULL}, LATER)  # 2 is full, though not for long yet
    assert not overload.nowhere
    assert next_look(overload, 1) == LATER + LOOK_S


def test_a_look_that_comes_sooner_is_not_put_off() -> None:
    watch = Watch(next_look=LATER + SOON_S / 2)
    known(FULL, IDLE).hurry(watch, [1], LATER)
    assert watch.next_look == LATER + SOON_S / 2


def test_all_look_at_once_when_a_node_is_new_or_back() -> None:
    overload = known(IDLE, IDLE)
    note(overload, {1: IDLE}, LATER)
    assert next_look(overload, 1) == LATER + LOOK_S
    note(overload, {1: IDLE, 2: IDLE}, LATER)
    assert next_look(overload, 1) == LATER
