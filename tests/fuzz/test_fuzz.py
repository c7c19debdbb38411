"""A short run of the fuzzer. The long ones are in benchmarks/RESULTS.md, what they found in docs/faults.md."""

from collections import Counter

from tests.fuzz import offline
from tests.fuzz.parsers import parsers, raised

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
