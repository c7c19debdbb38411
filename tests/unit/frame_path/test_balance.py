"""Frames go where the fewest are outstanding, by what a sender can know."""

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from node.processes.progress import ProgressFile, last_done, progress_path
from node.transport.balance import AWAY_S, FORGET_S, Balance
from wire.messages import Route

TWO = [Route(node_id=n, url=f"http://n{n}") for n in (1, 2)]


def test_equals_take_turns() -> None:
    balance = Balance()
    assert [balance.choose(5, TWO, s, 0.0).node_id for s in range(6)] == [1, 2, 1, 2, 1, 2]


def test_who_finishes_gets_the_next() -> None:
    balance = Balance()
    assert [balance.choose(5, TWO, s, 0.0).node_id for s in range(4)] == [1, 2, 1, 2]
    balance.done(5, 2, 3)
    assert [balance.choose(5, TWO, s, 0.0).node_id for s in (4, 5)] == [2, 2]
    assert (balance.outstanding(5, 1, 0.0), balance.outstanding(5, 2, 0.0)) == (2, 2)


def test_what_is_lost_is_settled_by_the_next_and_forgotten_in_time() -> None:
    balance = Balance()
    for sequence in range(10):
        balance.choose(5, TWO[:1], sequence, 0.0)
    balance.done(5, 1, 8)
    assert balance.outstanding(5, 1, 0.0) == 1
    assert balance.outstanding(5, 1, FORGET_S + 0.1) == 0


def test_a_replica_whose_node_is_away_is_passed_over_for_a_while() -> None:
    balance = Balance()
    assert [balance.choose(5, TWO, s, 0.0).node_id for s in range(4)] == [1, 2, 1, 2]
    balance.away(1, 0.0)
    assert [balance.choose(5, TWO, s, 1.0).node_id for s in range(4, 8)] == [2, 2, 2, 2]
    assert balance.outstanding(5, 1, 1.0) == 0, "what was out there does not come back"
    assert balance.choose(5, TWO[:1], 8, 1.0).node_id == 1, "there is no other"
    assert balance.choose(5, TWO, 9, AWAY_S).node_id == 1


def test_handlers_are_apart() -> None:
    balance = Balance()
    balance.choose(5, TWO, 0, 0.0)
    assert balance.choose(6, TWO, 0, 0.0).node_id == 1
    balance.done(6, 1, 0)
    assert balance.outstanding(5, 1, 0.0) == 1


@given(st.integers(2, 5), st.integers(1, 9))
def test_a_slow_replica_holds_no_more_than_its_share(fast: int, window: int) -> None:
    """Replica 1 finishes one frame while replica 2 finishes *fast*; *window* frames are out at any time."""
    balance, queues, done, sequence = Balance(), {1: list[int](), 2: list[int]()}, Counter[int](), 0
    for tick in range(20 * fast):
        while sum(map(len, queues.values())) < window:
            queues[balance.choose(5, TWO, sequence, float(tick) / 1000).node_id].append(sequence)
            sequence += 1
        for node_id, period in ((1, fast), (2, 1)):
            if tick % period == 0 and queues[node_id]:
                done[node_id] += 1
                balance.done(5, node_id, queues[node_id].pop(0))
    assert done[2] >= done[1]
    if window > 2:
        assert done[2] >= (fast - 1) * done[1]


def test_a_node_knows_what_its_handler_finished_last(tmp_path: Path) -> None:
    path = progress_path(tmp_path, 7, 3)
    path.parent.mkdir()
    assert last_done(tmp_path, 7, 3) is None
    path.write_bytes(b"")
    assert last_done(tmp_path, 7, 3) is None, "the agent is just making it"
    file = ProgressFile(path, create=True)
    assert last_done(tmp_path, 7, 3) is None
    file.begin(0, 0)
    assert last_done(tmp_path, 7, 3) is None
    file.end(0, 0)
    assert last_done(tmp_path, 7, 3) == 0
    file.begin(1, 0)
    assert last_done(tmp_path, 7, 3) == 0
    file.passed(5)
    assert last_done(tmp_path, 7, 3) == 5
