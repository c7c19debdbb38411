"""The controller's queue: each session once, and only as long as it needs what it was queued for."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coordinator import placing
from coordinator.node_service import Nodes
from coordinator.placing import BACKGROUND_THREADS
from coordinator.records import Cordon
from coordinator.requests import Reallocation
from coordinator.sessions import State
from tests.unit.controlled import Controlled, PlayedPeers
from wire.client import PeerAway

MANY = 2 * BACKGROUND_THREADS + 4


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[[], Controlled]]:
    """Yield what starts a coordinator, and starts it again."""
    peers, begun = PlayedPeers(), list[Controlled]()

    def another() -> Controlled:
        begun.append(Controlled(tmp_path, peers))
        begun[-1].hear(1, 2, 3)
        begun[-1].controller.load()
        return begun[-1]

    yield another
    for one in begun:
        one.close()


@pytest.fixture
def coordinator(begin: Callable[[], Controlled]) -> Controlled:
    return begin()


@pytest.fixture
def slow_to_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "SETTLE_S", 60.0)


@pytest.fixture
def quick_to_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "SETTLE_S", 0.0)


def at_node_2(coordinator: Controlled, count: int) -> list[int]:
    """Return sessions whose detector is on node 2 and may run on node 3."""
    coordinator.hear(3, leaving=True)
    found = [coordinator.create([2, 3]).session_id for _ in range(count)]
    coordinator.hear(3)
    assert all(coordinator.held(i).plan.placement[1] == [2] for i in found)
    return found


def wait_for_loading(coordinator: Controlled, count: int) -> None:
    """Return when so many PUTs take their time."""
    for _ in range(200):
        if coordinator.peers.loading >= count:
            return
        threading.Event().wait(0.05)
    pytest.fail(f"only {coordinator.peers.loading} of {count} nodes are loading")


def tick_while_loading(coordinator: Controlled, ticks: int = 3) -> None:
    """Tick while the threads' PUTs take their time and the other sessions wait for a thread; then let all end."""
    coordinator.peers.open.clear()
    coordinator.peers.loading = 0
    coordinator.tick()
    wait_for_loading(coordinator, BACKGROUND_THREADS)
    for _ in range(ticks):
        coordinator.tick()
    coordinator.peers.open.set()
    coordinator.finish()
    coordinator.tick()
    coordinator.finish()


def test_sessions_that_wait_for_a_thread_are_mended_once(coordinator: Controlled) -> None:
    sessions = at_node_2(coordinator, MANY)
    coordinator.hear(2, leaving=True)
    tick_while_loading(coordinator)
    for session_id in sessions:
        now = coordinator.held(session_id)
        assert (now.state, now.epoch, now.plan.placement[1]) == (State.RUNNING, 2, [3])
        assert coordinator.events(session_id) == ["degraded", "moved", "recovered"]


@pytest.mark.usefixtures("slow_to_settle")
def test_sessions_that_wait_for_a_thread_leave_a_draining_node_once(coordinator: Controlled) -> None:
    sessions = at_node_2(coordinator, MANY)
    Nodes(coordinator.parts).cordon(2, Cordon.DRAINING)
    tick_while_loading(coordinator)
    for session_id in sessions:
        assert coordinator.held(session_id).plan.placement[1] == [3]
        assert coordinator.events(session_id) == ["moved"]


def test_what_is_well_again_when_its_turn_comes_is_left_alone(coordinator: Controlled) -> None:
    sessions = at_node_2(coordinator, MANY)
    coordinator.hear(2, leaving=True)
    coordinator.peers.open.clear()
    coordinator.peers.loading = 0
    coordinator.tick()
    wait_for_loading(coordinator, BACKGROUND_THREADS)
    coordinator.hear(2)  # another coordinator had heard it
    coordinator.peers.open.set()
    coordinator.finish()
    untouched = [i for i in sessions if coordinator.events(i) == []]
    assert len(untouched) == MANY - BACKGROUND_THREADS
    assert {coordinator.held(i).epoch for i in untouched} == {1}


def test_a_drain_that_finds_no_place_delays_no_repair(coordinator: Controlled) -> None:
    (session_id,) = at_node_2(coordinator, 1)
    coordinator.hear(3, leaving=True)
    Nodes(coordinator.parts).cordon(2, Cordon.DRAINING)
    for _ in range(3):  # the third would wait for seconds
        coordinator.tick()
        coordinator.finish()
    assert coordinator.events(session_id) == []
    coordinator.hear(2, leaving=True)
    coordinator.tick()
    coordinator.finish()
    assert coordinator.events(session_id) == ["degraded"]


# --- the end of a planned move --------------------------------------------------------------------------


def moved(coordinator: Controlled) -> int:
    """Return a session whose detector has just moved from node 2 to node 3."""
    (session_id,) = at_node_2(coordinator, 1)
    coordinator.sessions.reallocate(session_id, Reallocation(pin={1: 3}))
    return session_id


@pytest.mark.usefixtures("slow_to_settle")
def test_the_old_epoch_is_welcome_for_a_while_and_its_nodes_stay(coordinator: Controlled) -> None:
    session_id = moved(coordinator)
    coordinator.tick()
    coordinator.finish()
    now = coordinator.kept(session_id)
    assert (now.epoch, now.accept_from, coordinator.peers.freed) == (3, 1, [])


@pytest.mark.usefixtures("quick_to_settle")
def test_a_planned_move_is_ended_on_the_nodes_then_written_then_the_left_ones_are_freed(
    coordinator: Controlled,
) -> None:
    session_id = moved(coordinator)
    written: list[int] = []
    coordinator.peers.fault = lambda _, s: written.append(coordinator.kept(s.session_id).accept_from)
    coordinator.tick()
    coordinator.finish()
    now = coordinator.kept(session_id)
    assert (now.epoch, now.accept_from, set(written)) == (3, 3, {1})
    assert (coordinator.peers.puts[-1], coordinator.peers.freed) == ((3, [1, 3]), [2])
    coordinator.peers.puts.clear()
    coordinator.tick()
    coordinator.finish()
    assert coordinator.peers.puts == []


@pytest.mark.usefixtures("quick_to_settle")
def test_a_move_is_not_ended_before_every_node_took_it(coordinator: Controlled) -> None:
    session_id = moved(coordinator)
    coordinator.peers.fault = lambda node, _: PeerAway("no answer in time") if node == 1 else None
    coordinator.tick()
    coordinator.finish()
    assert (coordinator.kept(session_id).accept_from, coordinator.peers.freed) == (1, [])
    coordinator.peers.fault = lambda _node, _session: None
    coordinator.tick()
    coordinator.finish()
    assert (coordinator.kept(session_id).accept_from, coordinator.peers.freed) == (3, [2])


@pytest.mark.usefixtures("quick_to_settle")
def test_a_restarted_coordinator_ends_the_move_of_the_one_before(begin: Callable[[], Controlled]) -> None:
    first = begin()
    session_id = moved(first)
    again = begin()
    again.tick()
    again.finish()
    now = again.kept(session_id)
    assert (now.epoch, now.accept_from) == (3, 3)


@pytest.mark.usefixtures("quick_to_settle")
def test_nodes_left_by_two_moves_are_freed_at_the_end_of_the_second(coordinator: Controlled) -> None:
    session_id = moved(coordinator)
    coordinator.sessions.reallocate(session_id, Reallocation(pin={1: 1}))
    coordinator.tick()
    coordinator.finish()
    now = coordinator.kept(session_id)
    assert (now.epoch, now.accept_from, coordinator.peers.freed) == (5, 5, [2, 3])
