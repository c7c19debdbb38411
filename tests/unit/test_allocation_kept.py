"""What is kept while a decision is made: it goes with its snapshot, belongs to that only, and changes no result."""

import gc
import random
import weakref
from itertools import product

import msgspec
import numpy as np
import pytest

from benchmarks.allocation import VARIANTS, variant, world
from coordinator.allocation import ALGORITHMS, paths
from coordinator.allocation.base import Request
from coordinator.allocation.cost import evaluator, model
from coordinator.allocation.decide import decide
from coordinator.allocation.links import FAR, Load
from coordinator.allocation.loads import under
from wire.messages import Minimize, Objective

VARIANTS_OF_SERVICE = tuple(variant(n, join=True) for n in range(VARIANTS))
ASKED = Request(service="s", variants=VARIANTS_OF_SERVICE, rate=10.0, objective=Objective(minimize=Minimize.LATENCY))


def test_all_that_a_decision_made_is_freed_with_the_snapshot_at_once() -> None:
    """Without waiting for the collector of cycles: its pauses would be in other decisions."""
    snapshot = world(random.Random(1), 40, list(VARIANTS_OF_SERVICE))
    gc.disable()
    try:
        decide(ALGORITHMS["layered_dp"](), ASKED, snapshot)
        costs = weakref.ref(model(snapshot))
        one = weakref.ref(evaluator(VARIANTS_OF_SERVICE[0], ASKED, snapshot))
        assert costs() is not None
        assert one() is not None
        del snapshot
        assert costs() is None
        assert one() is None
    finally:
        gc.enable()


def test_what_was_kept_under_other_loads_is_not_used() -> None:
    snapshot = world(random.Random(2), 20, list(VARIANTS_OF_SERVICE))
    first = VARIANTS_OF_SERVICE[0]
    nodes = dict.fromkeys(first.topology.order, (3,))
    idle, busy = (under(snapshot, np.full(20, load)) for load in (0.0, 0.9))
    before, after = (evaluator(first, ASKED, s).evaluate(nodes, 3).latency.wait for s in (idle, busy))
    assert after > before
    assert evaluator(first, ASKED, idle).evaluate(nodes, 3).latency.wait == before
    slower = msgspec.structs.replace(ASKED, rate=1.0)
    assert evaluator(first, slower, idle).evaluate(nodes, 3).latency.wait < before


def test_handlers_costed_together_cost_what_each_does() -> None:
    snapshot = world(random.Random(3), 30, list(VARIANTS_OF_SERVICE))
    works = [w for v in VARIANTS_OF_SERVICE for w in evaluator(v, ASKED, snapshot).shape.works]
    together = model(msgspec.structs.replace(snapshot)).handlers(works)
    for what, cost in zip(works, together, strict=True):
        alone = model(msgspec.structs.replace(snapshot)).handler(what)
        assert all(np.array_equal(a, b) for a, b in zip(cost, alone, strict=True))


def test_the_matrices_of_a_load_say_what_each_pair_costs() -> None:
    links = model(world(random.Random(4), 30, list(VARIANTS_OF_SERVICE))).links
    chosen, load = np.array([2, 3, 5, 22, 23, 29]), Load(60_000, 2.3)
    send, leave = links.send(chosen, load)
    for (a, source), (b, target) in product(enumerate(chosen.tolist()), repeat=2):
        assert send[a, b] == pytest.approx(links.cost(source, target, load))
        assert leave[b, a] == (FAR if a == b else send[a, b])


@pytest.mark.parametrize("first", [1, 24])
def test_how_many_entries_are_tried_at_once_changes_no_decision(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(6):
        snapshot = world(random.Random(seed), 30, list(VARIANTS_OF_SERVICE))
        usual = decide(ALGORITHMS["layered_dp"](), ASKED, snapshot)
        with monkeypatch.context() as changed:
            changed.setattr(paths, "FIRST", first)
            assert decide(ALGORITHMS["layered_dp"](), ASKED, msgspec.structs.replace(snapshot)) == usual


def test_the_best_look_may_use_a_node_that_the_mending_would_not_try() -> None:
    """Among 40 nodes that are nearly alike; two looks are taken at all of them, mending tries the best 24."""
    draw = random.Random(120)
    snapshot = world(draw, 40, list(VARIANTS_OF_SERVICE))
    alike = {
        n: msgspec.structs.replace(v, cpus=4, cpu_util=20.0, mem_util=20.0, mem_total=draw.choice([8000, 32000]))
        for n, v in snapshot.nodes.items()
    }
    asked = msgspec.structs.replace(ASKED, rate=5.0)
    assert decide(ALGORITHMS["layered_dp"](), asked, msgspec.structs.replace(snapshot, nodes=alike)).placement.nodes
