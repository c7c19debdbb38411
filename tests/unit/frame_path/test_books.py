"""The books balance at any moment: what a killed gateway leaves is continued by the next."""

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from node.gateway.books import BooksFile
from wire.messages import Books

reasons = st.sampled_from(["live_newer", "no_result", "session_deleted"]) | st.text(max_size=40)
steps = st.lists(
    st.sampled_from(["take", "take", "take", "deliver", "resend", "killed"]) | st.tuples(st.just("drop"), reasons),
    max_size=60,
)


def balanced(books: Books) -> bool:
    return books.frames_in == books.delivered + sum(books.dropped.values()) + books.in_flight


@settings(max_examples=150)
@given(steps)
def test_a_killed_gateway_leaves_balanced_books(steps: list[str | tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "books"
        books = BooksFile(path)
        expected: Counter[str] = Counter()
        for step in steps:
            if step == "take":
                assert books.take() == expected["frames_in"]
                expected["frames_in"] += 1
            elif step == "resend":
                books.resend()
                expected["resent"] += 1
            elif step == "killed":  # nothing is closed: a new gateway maps the file as it is
                expected["dropped"] += books.in_flight
                expected["gateway_lost"] += books.in_flight
                books = BooksFile(path)
            elif books.in_flight:
                if step == "deliver":
                    books.deliver()
                    expected["delivered"] += 1
                else:
                    books.drop(step[1])
                    expected["dropped"] += 1
                    expected["gateway_lost"] += step[1] == "gateway_lost"
            now = books.read()
            assert balanced(now)
            assert now.in_flight == expected["frames_in"] - expected["delivered"] - expected["dropped"]
            copy = Path(folder) / "copy"
            copy.write_bytes(path.read_bytes())
            after = BooksFile(copy).read()
            assert balanced(after)
            assert (after.frames_in, after.delivered, after.resent) == (now.frames_in, now.delivered, now.resent)
            assert after.in_flight == 0
            assert sum(after.dropped.values()) == sum(now.dropped.values()) + now.in_flight
        assert books.read().dropped.get("gateway_lost", 0) >= expected["gateway_lost"] or len(books.dropped) > 14


def test_many_reasons_end_in_other(tmp_path: Path) -> None:
    books = BooksFile(tmp_path / "books")
    for number in range(40):
        books.take()
        books.drop(f"reason {number}")
    assert len(books.dropped) == 16
    assert books.dropped["other"] == 25
    assert BooksFile(tmp_path / "books").read() == books.read()


def test_reasons_that_begin_alike_are_counted_as_the_file_has_them(tmp_path: Path) -> None:
    books = BooksFile(tmp_path / "books")
    for tail in "ab":
        books.take()
        books.drop("a reason longer than the table" + tail)
    assert BooksFile(tmp_path / "books").read() == books.read()
    assert sum(books.dropped.values()) == 2


def test_a_file_that_is_no_book_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "books"
    good = BooksFile(path)
    good.take()
    for content in (b"", b"short", b"\xff" * path.stat().st_size):
        path.write_bytes(content)
        assert BooksFile(path).read() == Books()
