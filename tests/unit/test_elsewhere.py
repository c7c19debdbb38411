"""Where a running session goes: another place first, another variant then, and nobody is hurt where that can be."""

from functools import partial

import pytest

from coordinator.allocation import ALGORITHMS
from coordinator.allocation.base import Decision, Measured, Placement, Request, Snapshot, Unplaceable, work
from coordinator.allocation.decide import BadDecision, decide
from coordinator.elsewhere import Alternatives, better, replacement
from tests.unit.test_admission import promise, small
from tests.unit.test_allocation_algorithms import request, snapshot
from tests.unit.test_allocation_objectives import LIGHT, TINY
from wire.messages import Objective

DECIDE = partial(decide, ALGORITHMS["layered_dp"]())
HERE = Placement(nodes={1: (1,), 2: (1,)}, entry_node=1)


def asked(objective: Objective, **changes: object) -> Alternatives:
    """LIGHT (102 ms) runs; TINY (2 ms) would do too."""
    own = request(variants=(LIGHT,), objective=objective, rate=objective.min_fps, **changes)
    return Alternatives(own=own, otherwise=request(variants=(TINY,), objective=objective, rate=objective.min_fps))


def slow(factor: float, *slow_nodes: int, nodes: int = 2) -> Snapshot:
    """LIGHT's detector is measured to take *factor* times its 100 ms on some nodes."""
    what = work(LIGHT.topology.handlers[2])
    times = {(what, n): Measured(ms=100.0 * (factor if n in slow_nodes else 1.0)) for n in range(1, nodes + 1)}
    return snapshot(*(small(n) for n in range(1, nodes + 1)), times=times)


def chosen(decision: Decision) -> tuple[str, set[int]]:
    return decision.variant.variant_name, decision.placement.used()


BOUND = Objective(max_latency_ms=150)


def test_another_place_comes_before_another_variant() -> None:
    assert chosen(better(DECIDE, asked(BOUND), slow(3.0, 1), [], 0, HERE)) == ("light", {2})


def test_another_variant_where_no_place_of_its_own_meets_the_bounds() -> None:
    assert better(DECIDE, asked(BOUND), slow(3.0, 1, 2), [], 0, HERE).variant is TINY


def test_another_variant_where_the_place_that_is_predicted_to_do_is_the_one_that_does_not() -> None:
    """What is measured counts more than what is predicted."""
    assert better(DECIDE, asked(BOUND), slow(1.0, nodes=1), [], 0, HERE).variant is TINY


def test_the_variant_stays_while_nothing_is_broken_and_where_the_caller_named_it() -> None:
    with pytest.raises(Unplaceable):
        better(DECIDE, asked(BOUND), slow(3.0, 1, 2), [], 0)
    named = Alternatives(own=asked(BOUND).own)
    nearest = better(DECIDE, named, slow(3.0, 1, nodes=1), [], 0, HERE)
    assert chosen(nearest) == ("light", {1}), "it stays: no place is known that is nearer to the bound"


def test_a_replacement_prefers_a_slower_place_that_breaks_nobodys_promise() -> None:
    wish, world = asked(Objective(min_fps=6.0)), slow(1.2, 2)
    other = promise(nodes=(1,))
    assert chosen(replacement(DECIDE, Alternatives(own=wish.own), world, [], 0)) == ("light", {1})
    assert chosen(replacement(DECIDE, Alternatives(own=wish.own), world, [other], 0)) == ("light", {2})


def test_a_replacement_that_must_break_a_promise_is_made_all_the_same() -> None:
    wish = Alternatives(own=asked(Objective(min_fps=6.0)).own)
    assert chosen(replacement(DECIDE, wish, slow(1.0, nodes=1), [promise(nodes=(1,))], 0)) == ("light", {1})


def test_a_replacement_beyond_its_own_bounds_is_better_than_none() -> None:
    wish = Alternatives(own=asked(Objective(max_latency_ms=50)).own)
    assert chosen(replacement(DECIDE, wish, slow(1.0, nodes=1), [], 0)) == ("light", {1})


def test_what_its_own_variant_cannot_do_anywhere_another_one_does() -> None:
    only_decoding = snapshot(small(1, available=frozenset({6})))
    wish = asked(Objective())
    assert replacement(DECIDE, wish, only_decoding, [], 0).variant is TINY
    with pytest.raises(Unplaceable, match="handler 2"):
        replacement(DECIDE, Alternatives(own=wish.own), only_decoding, [], 0)


def test_an_algorithm_that_fails_is_not_asked_again() -> None:
    calls = list[Request]()

    def fails(wish: Request, _: Snapshot) -> Decision:
        calls.append(wish)
        raise BadDecision("the algorithm x failed", {})

    with pytest.raises(BadDecision):
        replacement(fails, asked(BOUND), slow(1.0), [], 0)
    assert len(calls) == 1
