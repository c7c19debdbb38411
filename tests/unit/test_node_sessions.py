"""What a node decides about its sessions."""

from typing import Any

import pytest
from msgspec.structs import replace

from node.sessions import (
    ENDED_FOR_S,
    TRANSITIONS,
    Change,
    Ended,
    Event,
    InvalidTransition,
    StaleEpoch,
    Step,
    Strangers,
    check_epoch,
    converge,
    diff,
    leaving,
    senders,
    transition,
)
from wire.messages import Entry, Graph, HandlerSpec, Route, Running, SessionPlan, WantedSession

HERE = "http://127.0.0.1:9100"


def plan(
    local: list[int], epoch: int = 1, window: int = 16, params: dict[int, dict[str, Any]] | None = None
) -> SessionPlan:
    handlers = [HandlerSpec(handler_id=h, handler_type=4, params=(params or {}).get(h, {})) for h in (1, 2, 3)]
    return SessionPlan(
        epoch=epoch,
        accept_from=epoch,
        graph=Graph(handlers=handlers),
        local=local,
        routes={h: [Route(node_id=1, url=HERE)] for h in (1, 2, 3)},
        entry=Entry(node_id=1, url=HERE, key="k", handler_id=1),
        results=[],
        window=window,
    )


def test_a_first_plan_starts_all_local_handlers() -> None:
    assert diff(None, plan([1, 2])) == Change(start=[1, 2])


def test_only_what_differs_starts_and_stops() -> None:
    assert diff(plan([1, 2]), plan([2, 3], epoch=2)) == Change(start=[3], stop=[1], keep=[2])


def test_a_new_epoch_alone_moves_nothing() -> None:
    assert diff(plan([1, 2]), plan([1, 2], epoch=2)) == Change(keep=[1, 2])


def test_changed_params_are_a_new_handler() -> None:
    assert diff(plan([1, 2]), plan([1, 2], params={2: {"width": 8}})) == Change(start=[2], stop=[2], keep=[1])


def test_a_broken_handler_is_started_afresh() -> None:
    assert diff(plan([1, 2]), plan([1, 2]), broken=[1]) == Change(start=[1], stop=[1], keep=[2])


def test_packets_are_taken_from_nodes_that_have_a_part_in_the_session() -> None:
    def at(node_id: int, epoch: int, accept_from: int) -> SessionPlan:
        routes = {h: [Route(node_id=n, url=HERE) for n in (1, node_id)] for h in (1, 2)}
        return replace(plan([1], epoch=epoch), accept_from=accept_from, routes=routes)

    assert senders(None, at(2, 1, 1)) == frozenset({1, 2})
    old = frozenset({1, 2})
    assert senders(old, at(3, 2, 1)) == old | {3}, "frames of the old epoch are on their way"
    assert senders(old | {3}, at(3, 2, 2)) == frozenset({1, 3}), "they are not any more"
    assert senders(None, at(3, 2, 1)) is None, "new here: who had a part before is not known"
    assert senders(None, at(3, 2, 2)) == frozenset({1, 3})


def test_a_handler_that_moves_away_stays_while_frames_of_its_epoch_are_welcome() -> None:
    first, moved = plan([1, 2]), replace(plan([2], epoch=2), accept_from=1)
    assert leaving(first, (), moved) == {1}
    assert leaving(moved, [1], moved) == {1}, "the same plan again"
    assert leaving(moved, [1], replace(moved, accept_from=2)) == frozenset()
    assert leaving(moved, [1], replace(plan([1, 2], epoch=3), accept_from=2)) == frozenset(), "it is back"
    assert leaving(first, (), plan([2], epoch=2)) == frozenset(), "after a failure nothing old is welcome"
    assert leaving(None, (), moved) == frozenset()


def test_a_new_window_changes_every_queue() -> None:
    assert diff(plan([1]), plan([1], window=32)) == Change(start=[1], stop=[1])


def test_an_older_plan_is_refused_and_an_equal_one_is_not() -> None:
    check_epoch(None, plan([1]))
    check_epoch(plan([1], epoch=3), plan([1], epoch=3))
    with pytest.raises(StaleEpoch, match="epoch 2 is older than 3"):
        check_epoch(plan([1], epoch=3), plan([1], epoch=2))


@pytest.mark.parametrize(
    ("state", "event", "message"),
    [
        (Running.RUNNING, Event.START, "start while running"),
        (Running.STOPPED, Event.STOP, "stop while stopped"),
        (Running.INITIALIZED, Event.STOP, "stop while initialized"),
        (Running.PREPARING, Event.START, "start while preparing"),
    ],
)
def test_a_second_start_or_stop_is_illegal(state: Running, event: Event, message: str) -> None:
    with pytest.raises(InvalidTransition, match=message):
        transition(state, event)


def test_a_session_runs_stops_and_runs_again() -> None:
    state = Running.PREPARING
    for event in (Event.PREPARED, Event.START, Event.STOP, Event.START, Event.PREPARED):
        state = transition(state, event)
    assert state is Running.RUNNING, "a new plan leaves a running session running"


def test_failed_is_never_stored() -> None:
    """It is shown while a handler is given up, so that a repair brings the old state back."""
    assert Running.FAILED not in TRANSITIONS.values()


@pytest.mark.parametrize(
    ("wanted", "with_plan", "epoch", "state", "steps"),
    [
        (Running.RUNNING, True, None, None, [Step.PUT, Step.START]),
        (Running.INITIALIZED, True, None, None, [Step.PUT]),
        (Running.RUNNING, False, None, None, []),
        (Running.RUNNING, False, 5, Running.RUNNING, []),
        (Running.RUNNING, True, 4, Running.RUNNING, [Step.PUT]),
        (Running.RUNNING, True, 5, Running.RUNNING, []),
        (Running.RUNNING, False, 5, Running.STOPPED, [Step.START]),
        (Running.STOPPED, False, 5, Running.RUNNING, [Step.STOP]),
        (Running.STOPPED, False, 5, Running.INITIALIZED, []),
        (Running.RUNNING, False, 5, Running.PREPARING, [Step.PUT, Step.START]),
        (Running.RUNNING, False, 5, Running.FAILED, []),
    ],
)
def test_convergence(
    wanted: Running, with_plan: bool, epoch: int | None, state: Running | None, steps: list[Step]
) -> None:
    asked = WantedSession(session_id=1, epoch=5, state=wanted, plan=plan([1], epoch=5) if with_plan else None)
    assert converge(asked, epoch, state) == steps


def test_a_stranger_ends_after_ten_seconds_of_answers() -> None:
    strangers = Strangers()
    assert strangers.expired([1, 2], [2], now=100.0) == []
    assert strangers.expired([1, 2], [2], now=109.9) == []
    assert strangers.expired([1, 2], [2], now=110.0) == [1]


def test_a_stranger_that_is_named_meanwhile_begins_anew() -> None:
    strangers = Strangers()
    strangers.expired([1], [], now=100.0)
    strangers.expired([1], [1], now=105.0)
    assert strangers.expired([1], [], now=111.0) == []
    assert strangers.expired([1], [], now=121.0) == [1]


def test_silence_of_the_coordinator_makes_nobody_a_stranger() -> None:
    strangers = Strangers()
    strangers.expired([1], [], now=100.0)
    strangers.forget()
    assert strangers.expired([1], [], now=200.0) == []


def test_a_session_that_was_ended_here_is_not_brought_back_at_that_epoch() -> None:
    """Of two coordinators the one that answers heartbeats may hear of the end a second later."""
    ended = Ended()
    ended.note(7, epoch=3, now=100.0)
    assert ended.covers(7, 3, 100.5)
    assert ended.covers(7, 2, 100.5)
    assert not ended.covers(7, 4, 100.5), "a later epoch is another placement"
    assert not ended.covers(8, 3, 100.5)
    assert not ended.covers(7, 3, 100.0 + ENDED_FOR_S)
