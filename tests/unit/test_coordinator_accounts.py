"""A session's books go on when its entry is lost: they balance, and numbers never come twice."""

from hypothesis import given
from hypothesis import strategies as st

from coordinator.accounts import GAP, LastBooks, carried, closed, total
from coordinator.records import NodeAddress, Planned, replace
from tests.unit.test_coordinator_decisions import planned
from wire.messages import Books, Hardware, Heartbeat, Load, NodeSession, Running

COUNT = st.integers(0, 1000)
BOOKS = st.builds(
    lambda delivered, dropped, in_flight, resent: Books(
        frames_in=delivered + sum(dropped.values()) + in_flight,
        delivered=delivered,
        dropped=dropped,
        in_flight=in_flight,
        resent=resent,
        next_sequence=delivered + sum(dropped.values()) + in_flight,
    ),
    COUNT,
    st.dictionaries(st.sampled_from(["entry_lost", "no_result", "live_newer"]), COUNT),
    COUNT,
    COUNT,
)


def at(boot_id: str, entry_node: int = 1) -> Planned:
    """Return a plan whose entry is on a node in that life."""
    address = NodeAddress(control_url="http://c", data_url="http://d", boot_id=boot_id)
    return replace(planned({1: [entry_node]}, entry_node), nodes={entry_node: address})


def balanced(books: Books) -> bool:
    return books.frames_in == books.delivered + sum(books.dropped.values()) + books.in_flight


@given(BOOKS)
def test_open_frames_of_a_lost_entry_are_dropped(books: Books) -> None:
    after = closed(books, "entry_lost")
    assert balanced(after)
    assert (after.in_flight, after.frames_in, after.delivered) == (0, books.frames_in, books.delivered)
    assert after.dropped.get("entry_lost", 0) == books.dropped.get("entry_lost", 0) + books.in_flight


@given(BOOKS, BOOKS)
def test_the_books_of_two_lives_balance_together(past: Books, now: Books) -> None:
    both = total(past, now)
    assert both is not None
    assert balanced(both)
    assert both.frames_in == past.frames_in + now.frames_in
    assert total(None, now) == now
    assert total(past, None) == past


def test_a_new_entry_begins_above_all_numbers_of_the_lost_one() -> None:
    last = Books(frames_in=12, delivered=7, in_flight=5, next_sequence=12)
    second = carried(at("a"), at("b", 2), last, "entry_lost")
    assert second.first_sequence == 12 + GAP
    assert second.past_books == Books(
        frames_in=12,
        delivered=7,
        dropped={"entry_lost": 5},
        dropped_at={"entry": {"entry_lost": 5}},
        next_sequence=12,
    )
    third = carried(second, at("c"), None, "entry_lost")
    assert third.first_sequence == 12 + 2 * GAP, "lost before it had reported"
    assert third.past_books == second.past_books
    fourth = carried(third, at("d"), Books(frames_in=1, delivered=1, next_sequence=12 + 2 * GAP + 1), "entry_lost")
    assert fourth.first_sequence == 13 + 3 * GAP
    assert fourth.past_books is not None
    assert (fourth.past_books.frames_in, fourth.past_books.delivered) == (13, 8)


def test_a_move_of_handlers_alone_changes_no_account() -> None:
    first = replace(at("a"), first_sequence=5, past_books=Books(frames_in=5, delivered=5))
    after = carried(first, at("a"), Books(frames_in=99, in_flight=99), "entry_lost")
    assert (after.first_sequence, after.past_books) == (5, first.past_books)


def test_a_node_that_was_restarted_has_not_wiped_out_the_books_of_its_former_life() -> None:
    heard = LastBooks()
    part = NodeSession(session_id=7, epoch=1, state=Running.RUNNING, entry=True, books=Books(frames_in=3))
    for boot_id, sessions in (("a", [part]), ("b", [])):
        heard.hear(
            Heartbeat(
                node_id=1,
                node_name="n",
                boot_id=boot_id,
                control_url="http://c",
                data_url="http://d",
                hardware=Hardware(cpus=1, mem_total=1),
                load=Load(cpu_util=0, mem_util=0),
                timestamp=0.0,
                sessions=sessions,
            )
        )
    assert heard.of(7, at("a")) == Books(frames_in=3)
    assert heard.of(7, at("b")) is None
    assert heard.of(8, at("a")) is None
