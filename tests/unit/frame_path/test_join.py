"""Inputs of a frame meet by sequence; what cannot meet is given up, oldest first."""

from hypothesis import given
from hypothesis import strategies as st

from node.worker.execution import ending
from node.worker.join import Joiner
from node.worker.loop import merged_trace
from wire.packet import EmptyPart, Header, Packet, Span


def packet(sequence: int, port: int = 0, epoch: int = 1, trace: list[Span] | None = None) -> Packet:
    header = Header(session_id=7, epoch=epoch, sequence=sequence, timestamp=0.0, origin=1, port=port, trace=trace or [])
    return Packet(header, [], 0)


@given(st.permutations([(s, p) for s in range(5) for p in range(3)]))
def test_each_frame_is_complete_once_in_whatever_order_its_inputs_come(order: list[tuple[int, int]]) -> None:
    joiner, complete = Joiner(3, bound=100), []
    for sequence, port in order:
        found = joiner.add(packet(sequence, port))
        if found is not None:
            assert [p.header.port for p in found] == [0, 1, 2]
            assert {p.header.sequence for p in found} == {sequence}
            complete.append(sequence)
    assert sorted(complete) == [0, 1, 2, 3, 4]
    assert len(joiner) == 0


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 1)), max_size=80), st.integers(0, 5))
def test_no_more_than_the_bound_is_held(arrivals: list[tuple[int, int]], bound: int) -> None:
    joiner = Joiner(2, bound)
    for sequence, port in arrivals:
        joiner.add(packet(sequence, port))
        late = joiner.overdue()
        assert len(joiner) <= bound
        assert len(late) <= 1, "one came in, so one goes at most"


def test_one_input_needs_no_partner() -> None:
    only = packet(5)
    assert Joiner(1, bound=0).add(only) == [only]


def test_a_packet_that_was_sent_again_replaces_the_earlier_one() -> None:
    joiner = Joiner(2, bound=4)
    first, again, partner = packet(0, 0, epoch=1), packet(0, 0, epoch=2), packet(0, 1, epoch=2)
    assert joiner.add(first) is None
    assert joiner.add(again) is None
    assert joiner.add(partner) == [again, partner]


def test_parts_of_two_epochs_make_no_frame() -> None:
    """The entry has sent all of it again: what came before must not go on with half of that."""
    joiner = Joiner(2, bound=4)
    assert joiner.add(packet(0, 0, epoch=1)) is None
    new = packet(0, 1, epoch=2)
    assert joiner.add(new) is None
    assert joiner.add(packet(0, 0, epoch=1)) is None, "an older one that comes late"
    again = packet(0, 0, epoch=2)
    assert joiner.add(again) == [again, new]


def test_partners_that_never_came_oldest_first() -> None:
    joiner = Joiner(2, bound=1)
    for sequence in (7, 3, 9):
        joiner.add(packet(sequence))
    assert [p.header.sequence for p in joiner.overdue()] == [7, 3]
    assert joiner.overdue() == []


def test_what_came_under_an_older_plan_is_forgotten() -> None:
    joiner = Joiner(2, bound=9)
    joiner.add(packet(0, 0, epoch=1))
    joiner.add(packet(1, 0, epoch=2))
    joiner.forget_before(2)
    assert joiner.add(packet(0, 1, epoch=2)) is None, "its partner is gone"
    assert joiner.add(packet(1, 1, epoch=2)) is not None


def test_the_worst_end_of_a_frame_counts() -> None:
    ends = [EmptyPart(status=s, ended_by=1) for s in ("ok", "failed", "dropped")]
    assert ending([1, *ends]) is ends[1]
    assert ending([1, ends[0], ends[2]]) is ends[2]
    assert ending([1, 2]) is None


def test_traces_of_branches_are_merged() -> None:
    common, left, right = Span(1, 1, 0, 0, 1), Span(2, 1, 1, 3, 4), Span(3, 2, 1, 2, 3)
    merged = merged_trace([packet(0, trace=[common, left]), packet(0, trace=[common, right])])
    assert merged == [common, right, left]
