"""A short run of the fuzzer. The long ones are in benchmarks/RESULTS.md, what they found in docs/faults.md."""

import time
from collections import Counter
from collections.abc import Callable
from itertools import count

import pytest

from tests.fuzz import offline
from tests.fuzz.parsers import Parser, parsers, raised

SEED, CASES = 1, 6000


def test_spoilt_bytes_meet_declared_errors_only() -> None:
    """Each target gets some of the cases, and each raises what its callers expect."""
    targets, fed, wrong = parsers(), Counter[str](), list[str]()
    for number in range(CASES):
        parser, data = offline.pick(SEED, number, targets)
        fed[parser.name] += 1
        error = raised(parser, data)
        if error is not None:
            wrong.append(f"case {SEED}:{number}: {parser.name} raised {error!r}")
    assert not wrong, "\n".join(wrong)
    assert min(fed[t.name] for t in targets) > 50


def test_a_case_is_the_same_again() -> None:
    once, again = parsers(), parsers()
    assert [offline.pick(5, n, once)[1] for n in range(99)] == [offline.pick(5, n, again)[1] for n in range(99)]


def test_a_crash_and_an_undeclared_error_are_told() -> None:
    """The fuzzer itself can fail."""

    def break_down(data: bytes) -> None:
        raise ZeroDivisionError

    spoilt = [t if t.name != "head" else type(t)(t.name, break_down, (), t.corpus, t.share) for t in parsers()]
    assert any(isinstance(raised(*offline.pick(1, n, spoilt)), ZeroDivisionError) for n in range(50))


@pytest.mark.parametrize("feed", [lambda _: sum(count()), lambda _: time.sleep(60)], ids=["works on", "sleeps"])
def test_a_case_that_does_not_end_is_told_and_ended(
    monkeypatch: pytest.MonkeyPatch, feed: Callable[[bytes], object]
) -> None:
    monkeypatch.setattr(offline, "parsers", lambda: [Parser("endless", feed, (), [b"x"], 1)])
    monkeypatch.setattr(offline, "HANG_S", 0.3)
    monkeypatch.setattr(offline, "BLOCKED_S", 0.6)
    assert offline.run(1, 1).told == ["case 1:0 hangs"]


def test_a_slow_case_is_told() -> None:
    assert offline.verdict(None, offline.SLOW_S + 0.1) and not offline.verdict(None, offline.SLOW_S)
