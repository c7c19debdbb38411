"""The checker finds what it is there to find."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.checker import SET_ASIDE, Answer, Seen, balance, faults

BOOKS: dict[str, Any] = {
    "frames_in": 4, "delivered": 3, "dropped": {"live_newer": 1}, "in_flight": 0, "next_sequence": 4,
}  # fmt: skip


def result(sequence: int, mark: int, count: int, status: str = "ok", life: str = "p1") -> dict[str, Any]:
    """Return a result as a stream has it; count: what the stateful handler says."""
    boxes = [{"label": life, "x": mark, "y": count}] if status == "ok" else []
    return {"sequence": sequence, "status": status, "boxes": boxes}


STREAM: list[Mapping[str, Any]] = [result(0, 10, 0), result(1, 0, 0, "dropped"), result(2, 20, 1), result(3, 11, 2)]
A0, A1, B0, B1 = (
    Answer(("a", 0), "ok", 0, 10),
    Answer(("a", 1), "ok", 3, 11, attempts=2),
    Answer(("b", 0), "ok", 2, 20),
    Answer(("b", 1), "dropped", 1),
)
GOOD = Seen(
    sent={("a", 0): 1, ("a", 1): 1, ("b", 0): 1, ("b", 1): 1},
    marks={("a", 0): 10, ("a", 1): 11, ("b", 0): 20, ("b", 1): 21},
    answers=[A0, A1, B0, B1],
    streams=[STREAM, STREAM],
    books=BOOKS,
    file=BOOKS,
    in_flight=[0, 16],
    live=True,
)
MORE = BOOKS | {"frames_in": 5, "delivered": 4, "next_sequence": 5}
TWICE = replace(GOOD, sent=dict(GOOD.sent) | {("a", 0): 2}, books=MORE, file=MORE)


def test_a_run_that_kept_all_promises_has_no_fault() -> None:
    assert faults(GOOD) == []


def test_a_pair_that_is_answered_twice_with_the_same_result_is_right() -> None:
    assert faults(replace(GOOD, sent=TWICE.sent, answers=[A0, *GOOD.answers])) == []


def test_a_frame_that_killed_twice_may_fail() -> None:
    failed = replace(A0, status="failed", mark=None, told=f"handler 1 {SET_ASIDE}")
    seen = replace(GOOD, answers=[failed, A1, B0, B1], streams=[[result(0, 0, 0, "failed"), *STREAM[1:]]])
    assert faults(replace(seen, killed={1: 2})) == []
    assert faults(replace(seen, killed={1: 1})) != []


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (replace(GOOD, answers=[A0, A1, B1]), "('b', 0) was delivered 1 times and answered 0 times"),
        (replace(GOOD, answers=[*GOOD.answers, A0]), "('a', 0) was delivered 1 times and answered 2 times"),
        (replace(GOOD, answers=[*GOOD.answers, replace(A0, key=("c", 0))]), "never sent"),
        (replace(GOOD, answers=[replace(A0, status="refused", told="500"), A1, B0, B1]), "is refused"),
        (replace(GOOD, live=False), "('b', 1) is dropped"),
        (replace(GOOD, answers=[replace(A0, mark=20), A1, B0, B1]), "has the result of 20, not of 10"),
        (replace(TWICE, answers=[*GOOD.answers, replace(A0, sequence=4)]), "('a', 0) has the results [0, 4]"),
        (replace(GOOD, answers=[A0, replace(A1, sequence=2), B0, B1]), "sequence 2 answers [('a', 1), ('b', 0)]"),
        (replace(GOOD, answers=[A0, replace(A1, sequence=4), B0, B1]), "sequence 4, but the next is 4"),
        (replace(GOOD, streams=[[STREAM[0], STREAM[2], STREAM[1]]]), "a stream has 1 after 2"),
        (replace(GOOD, streams=[[STREAM[0], *STREAM]]), "a stream has 0 after 0"),
        (replace(GOOD, streams=[STREAM, STREAM[:3]]), "a stream lacks [3]"),
        (replace(GOOD, streams=[[*STREAM[:3], result(3, 12, 2)]]), "sequence 3 is ok in a stream"),
        (replace(GOOD, streams=[[result(0, 10, 1), STREAM[1], result(2, 20, 0), STREAM[3]]]), "had 2 before 0"),
        (replace(GOOD, streams=[[result(0, 10, 1), STREAM[1], STREAM[2], STREAM[3]]]), "had 2 before 0"),
        (replace(GOOD, books=BOOKS | {"delivered": 2}), "frames_in 4 is not 3"),
        (replace(GOOD, books=BOOKS | {"in_flight": 1, "delivered": 2}), "still in flight"),
        (replace(GOOD, books=BOOKS | {"next_sequence": 5}), "next_sequence 5"),
        (replace(GOOD, file=BOOKS | {"frames_in": 5}), "the books file has"),
        (replace(GOOD, books=BOOKS | {"delivered": 2, "dropped": {"live_newer": 2}}), "2 delivered, but 3"),
        (replace(GOOD, books=BOOKS | {"delivered": 4, "dropped": {}}), "4 delivered in the books, 3 in a stream"),
        (replace(GOOD, books=BOOKS | {"delivered": 4, "dropped": {}}), "0 dropped in the books, 1 in a stream"),
        (replace(GOOD, books=BOOKS | {"frames_in": 9, "next_sequence": 9, "delivered": 8}), "fewer were posted"),
        (replace(GOOD, books=BOOKS | {"dropped": {"no_result": 1}}), "1 frames dropped: no_result"),
        (replace(GOOD, books=BOOKS | {"dropped": {"gateway_lost": 1}}), "1 frames dropped: gateway_lost"),
        (replace(GOOD, in_flight=[17]), "17 frames in flight"),
    ],
)  # fmt: skip
def test_each_broken_promise_is_told(seen: Seen, told: str) -> None:
    assert [fault for fault in faults(seen) if told in fault]


def test_a_killed_gateway_loses_what_was_open_and_nothing_else() -> None:
    lost = replace(GOOD, books=BOOKS | {"frames_in": 5, "dropped": {"live_newer": 1, "gateway_lost": 1}}, file=None)
    lost = replace(lost, books=dict(lost.books) | {"next_sequence": 5}, entry_lost=True)
    assert faults(lost) == []
    assert faults(replace(lost, streams=[STREAM[1:]])) != []
    assert faults(replace(lost, sent=TWICE.sent, answers=[*GOOD.answers, replace(A0, sequence=4)])) != []


def test_what_only_a_killed_node_knew_may_be_gone() -> None:
    """A repeat is processed anew, and the stream lacks what was answered just before; never out of order, though."""
    seen = replace(TWICE, answers=[*GOOD.answers, replace(A0, sequence=4)], streams=[STREAM[1:]], node_lost=True)
    assert faults(seen) == []
    assert faults(replace(seen, streams=[[STREAM[2], STREAM[1]]])) != []


def test_books_balance_at_any_moment() -> None:
    assert balance(BOOKS | {"in_flight": 2, "frames_in": 6}) == []
    assert balance(BOOKS | {"in_flight": 1}) != []
