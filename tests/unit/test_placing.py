"""Planned moves: what is told to whom in which order, what is written when, and the way back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.placing import MoveFailed
from coordinator.records import Planned, SessionRecord, replace
from coordinator.sessions import State
from tests.unit.controlled import Controlled, PlayedPeers
from wire.client import PeerAway
from wire.messages import Books

FINAL = Books(frames_in=9, delivered=9, dropped={}, in_flight=0, next_sequence=9)


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[Controlled]:
    one = Controlled(tmp_path, PlayedPeers())
    one.hear(1, 2, 3)
    yield one
    one.close()


@pytest.fixture
def session(coordinator: Controlled) -> SessionRecord:
    """A session that enters at node 1 and has its detector on node 2."""
    found = coordinator.create(2)
    coordinator.peers.puts.clear()
    return found


def on_node_3(coordinator: Controlled, session: SessionRecord) -> Planned:
    """Return the plan with the detector on node 3."""
    return replace(session.plan, placement=session.plan.placement | {1: [3]}, nodes=coordinator.addresses(1, 3))


def by_another_graph(coordinator: Controlled, session: SessionRecord) -> Planned:
    """Return the plan with other parameters of the detector, where it is."""
    graph = session.plan.graph
    handlers = [replace(h, params=h.params | {"x": 1}) if h.handler_id == 1 else h for h in graph.handlers]
    return replace(session.plan, graph=replace(graph, handlers=handlers))


def entry_on_node_3(coordinator: Controlled, session: SessionRecord) -> Planned:
    """Return the plan with the entry on node 3; node 1 keeps a handler."""
    placement = session.plan.placement | {0: [3]}
    return replace(session.plan, entry_node=3, placement=placement, nodes=coordinator.addresses(1, 2, 3))


def refuse(coordinator: Controlled, node_id: int, epoch: int) -> None:
    """Have a node give no answer to plans of that epoch."""
    coordinator.peers.fault = lambda n, s: PeerAway("no answer") if (n, s.epoch) == (node_id, epoch) else None


def test_nothing_is_written_before_the_new_node_has_prepared(coordinator: Controlled, session: SessionRecord) -> None:
    """Another coordinator would tell the other nodes of it by their heartbeats' answers."""
    written = list[int]()

    def note(_node: int, now: SessionRecord) -> None:
        written.append(coordinator.kept(now.session_id).epoch)

    coordinator.peers.fault = note
    now = coordinator.placer.moved(session, on_node_3(coordinator, session), "reallocated")
    assert (coordinator.peers.puts, written) == ([(2, [3]), (3, [3]), (3, [1])], [1, 3, 3])
    assert (now.epoch, now.accept_from) == (3, 1)


def test_a_new_node_that_does_not_prepare_changes_nothing(coordinator: Controlled, session: SessionRecord) -> None:
    refuse(coordinator, 3, epoch=2)
    with pytest.raises(MoveFailed, match="node 3: no answer"):
        coordinator.placer.moved(session, on_node_3(coordinator, session), "reallocated")
    assert (coordinator.kept(session.session_id), coordinator.peers.puts) == (session, [(2, [3])])
    assert coordinator.peers.freed == [3]


@pytest.mark.parametrize("node_id", [1, 3])
def test_the_way_back_ends_the_epoch_of_a_half_made_move(
    coordinator: Controlled, session: SessionRecord, node_id: int
) -> None:
    """Frames may be under way by it."""
    refuse(coordinator, node_id, epoch=3)
    with pytest.raises(MoveFailed):
        coordinator.placer.moved(session, on_node_3(coordinator, session), "reallocated")
    now = coordinator.kept(session.session_id)
    assert (now.epoch, now.accept_from, now.plan.placement) == (4, 4, session.plan.placement)
    assert (coordinator.peers.puts[-1], coordinator.peers.freed) == ((4, [1, 2]), [3])


def test_with_another_graph_the_entry_comes_last_there_and_back(
    coordinator: Controlled, session: SessionRecord
) -> None:
    refuse(coordinator, 1, epoch=3)
    with pytest.raises(MoveFailed):
        coordinator.placer.moved(session, by_another_graph(coordinator, session), "reallocated")
    assert coordinator.peers.puts == [(3, [2]), (3, [1]), (4, [2]), (4, [1])]


def test_the_old_entrys_node_is_told_last_that_the_entry_is_elsewhere(
    coordinator: Controlled, session: SessionRecord
) -> None:
    coordinator.peers.books = FINAL
    now = coordinator.placer.moved(session, entry_on_node_3(coordinator, session), "drained")
    assert coordinator.peers.puts == [(2, [3]), (3, [2, 3]), (3, [1])]
    assert (now.state, now.plan.past_books, now.plan.first_sequence) == (State.RUNNING, FINAL, 9)


def test_an_entry_goes_back_with_its_own_books_when_the_new_one_fails(
    coordinator: Controlled, session: SessionRecord
) -> None:
    coordinator.peers.books = FINAL
    refuse(coordinator, 3, epoch=3)
    with pytest.raises(MoveFailed):
        coordinator.placer.moved(session, entry_on_node_3(coordinator, session), "drained")
    now = coordinator.kept(session.session_id)
    assert (now.plan.entry_node, now.plan.past_books, now.plan.first_sequence) == (1, None, 1_000_009)
    told = [epoch for epoch, nodes in coordinator.peers.puts if 1 in nodes]
    assert told == [4], "the node that has the books was never told to end them"


def test_books_are_kept_when_the_old_entrys_node_does_not_answer_any_more(
    coordinator: Controlled, session: SessionRecord
) -> None:
    """Nobody knows whether it took the plan, which ends its books: there is no way back."""
    coordinator.peers.books = FINAL
    refuse(coordinator, 1, epoch=3)
    coordinator.placer.moved(session, entry_on_node_3(coordinator, session), "drained")
    now = coordinator.kept(session.session_id)
    assert (now.state, now.reason, now.plan.entry_node) == (State.DEGRADED, "node 1: no answer: no answer", 3)
    assert (now.plan.past_books, now.plan.first_sequence) == (FINAL, 9)
    coordinator.controller.load()
    coordinator.tick()
    coordinator.finish()
    now = coordinator.kept(session.session_id)
    assert (now.state, now.plan.entry_node, now.plan.past_books) == (State.RUNNING, 3, FINAL)
    assert coordinator.events(session.session_id) == ["degraded", "moved", "moved", "recovered"]
