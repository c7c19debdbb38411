"""The checker finds what it is there to find."""

from dataclasses import replace
from typing import Any

import pytest

from tests.faults.checker import Answer, Seen, balance, faults

BOOKS: dict[str, Any] = {
    "frames_in": 4, "delivered": 3, "dropped": {"gateway_lost": 1}, "in_flight": 0, "next_sequence": 4,
}  # fmt: skip
GOOD = Seen(
    sent={("a", 0): ["face"], ("a", 1): ["face"], ("b", 0): []},
    answers=[
        Answer(("a", 0), "ok", 0, ["face"]),
        Answer(("a", 1), "ok", 3, ["face"], attempts=2),
        Answer(("b", 0), "ok", 2, None),
    ],
    stream=[0, 2, 3],
    books=BOOKS,
)


def test_a_run_that_kept_all_promises_has_no_fault() -> None:
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (replace(GOOD, answers=GOOD.answers[:2]), "('b', 0) was answered 0 times"),
        (replace(GOOD, answers=[*GOOD.answers, replace(GOOD.answers[0], sequence=1)]), "('a', 0) was answered 2 times"),
        (replace(GOOD, answers=[*GOOD.answers, Answer(("c", 0), "ok", 1)]), "never sent"),
        (replace(GOOD, answers=[replace(GOOD.answers[0], status="failed"), *GOOD.answers[1:]]), "is failed"),
        (replace(GOOD, answers=[replace(GOOD.answers[0], boxes=[]), *GOOD.answers[1:]]), "has the boxes []"),
        (replace(GOOD, answers=[replace(GOOD.answers[0], sequence=3), *GOOD.answers[1:]]), "sequence 3 answers 2"),
        (replace(GOOD, answers=[replace(GOOD.answers[0], sequence=4), *GOOD.answers[1:]]), "sequence 4 of 4"),
        (replace(GOOD, stream=[0, 3, 2]), "the stream has 2 after 3"),
        (replace(GOOD, stream=[0, 0]), "the stream has 0 after 0"),
        (replace(GOOD, books=BOOKS | {"delivered": 2}), "frames_in 4 is not 3"),
        (replace(GOOD, books=BOOKS | {"in_flight": 1, "delivered": 2}), "still in flight"),
        (replace(GOOD, books=BOOKS | {"next_sequence": 5}), "next_sequence 5"),
        (replace(GOOD, books=BOOKS | {"delivered": 2, "dropped": {"gateway_lost": 2}}), "2 delivered"),
        (replace(GOOD, books=BOOKS | {"frames_in": 9, "next_sequence": 9, "dropped": {"x": 6}}), "fewer were posted"),
    ],
)  # fmt: skip
def test_each_broken_promise_is_told(seen: Seen, told: str) -> None:
    assert [fault for fault in faults(seen) if told in fault]


def test_books_balance_at_any_moment() -> None:
    assert balance(BOOKS | {"in_flight": 2, "frames_in": 6}) == []
    assert balance(BOOKS | {"in_flight": 1}) != []
