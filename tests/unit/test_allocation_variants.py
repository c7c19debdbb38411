"""Variants that cannot win are not worked out, and none is passed over wrongly: seeded random worlds."""

import random

import pytest

from benchmarks.allocation import VARIANTS, variant, world
from coordinator.allocation import ALGORITHMS
from coordinator.allocation.base import Decision, Placement, Request, Snapshot
from coordinator.allocation.decide import decide
from wire.messages import Minimize, Objective


class Unbounded:
    """layered_dp without the word on what a variant takes at least: every variant is worked out."""

    def allocate(self, request: Request, snapshot: Snapshot, current: Placement | None) -> Decision:
        return ALGORITHMS["layered_dp"]().allocate(request, snapshot, current)


@pytest.mark.parametrize(("nodes", "join", "rate"), [(12, False, None), (30, True, 5.0), (100, True, None)])
def test_the_variant_taken_is_the_one_that_comparing_all_gives(nodes: int, join: bool, rate: float | None) -> None:
    variants, at_least = [variant(n, join=join) for n in range(VARIANTS)], 0
    for seed in range(12):
        request = Request(
            service="s", variants=tuple(variants), rate=rate, objective=Objective(minimize=Minimize.LATENCY)
        )
        taken, all_compared = (
            decide(algorithm, request, world(random.Random(seed), nodes, variants))
            for algorithm in (ALGORITHMS["layered_dp"](), Unbounded())
        )
        assert taken.variant.variant_name == all_compared.variant.variant_name
        assert taken.predicted == all_compared.predicted
        assert set(taken.passed_over) == set(all_compared.passed_over)
        at_least += sum(why.startswith("at least") for why in taken.passed_over.values())
    assert at_least > 0
