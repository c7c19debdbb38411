"""layered_dp against looking at every placement, on seeded random instances of at most 5 nodes and 5 handlers."""

import random
import statistics

import pytest

from benchmarks.exhaustive import PORTS, every, gaps, graph, node, placed, types
from coordinator.allocation import ALGORITHMS, candidates
from coordinator.allocation.base import Measured, Request, Snapshot, Variant, work
from wire.graph import Topology
from wire.messages import Graph, HandlerSpec, Link, Minimize, Objective, ResultSpec

COUNT = 200


def test_on_chains_without_competition_nothing_is_better() -> None:
    assert max(gaps(joins=False, compete=False, count=COUNT)) < 1e-4


def test_on_joins_without_competition_nothing_is_better() -> None:
    assert max(gaps(joins=True, compete=False, count=COUNT // 2)) < 1e-4


@pytest.mark.parametrize("joins", [False, True])
def test_where_handlers_compete_it_is_nearly_always_the_best(joins: bool) -> None:
    found = gaps(joins=joins, compete=True, count=COUNT // 2)
    assert len(found) > COUNT // 4  # the others have no place at all
    assert statistics.median(found) < 1e-4
    assert statistics.mean(found) <= 0.02


@pytest.mark.parametrize("rate", [None, 5.0])
def test_on_more_nodes_it_is_near_the_best_though_memory_is_short(rate: float | None) -> None:
    """16 nodes, where mending is given less time: what the shortest path knows of memory and cores must do."""
    found = []
    for seed in range(4):
        draw = random.Random(seed)
        handlers = [HandlerSpec(handler_id=i, handler_type=i + 1) for i in range(3)]
        links = [Link(source_handler=i, target_handler=i + 1, target_input=0) for i in range(2)]
        asked = Graph(handlers=handlers, links=links, results=[ResultSpec(handler_id=2)])
        nodes = {n: node(draw, n, memory=True) for n in range(1, 17)}
        variant = Variant(variant_name="v", accuracy=None, topology=Topology(asked, PORTS))
        request = Request(service="s", variants=(variant,), rate=rate, entry_node=draw.choice([None, 1]))
        snapshot = Snapshot(nodes=nodes, types=types(draw, memory=True))
        best = min(of.latency_ms for of in every(request, snapshot))
        decision = placed(request, snapshot)
        assert decision is not None
        found.append(decision.predicted.latency_ms / best - 1)
    assert max(found) <= 0.011


@pytest.mark.parametrize("aim", [Minimize.COST, Minimize.ENERGY])
def test_cost_and_energy_are_minimised_too(aim: Minimize) -> None:
    found = gaps(joins=True, compete=False, count=COUNT // 4, objective=Objective(minimize=aim))
    assert max(found) < 0.01


@pytest.mark.parametrize("joins", [False, True])
def test_looking_at_few_nodes_of_each_zone_loses_nothing(joins: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On 300 nodes in 3 zones, the best of the few is the best of all."""
    for seed in range(5):
        draw = random.Random(seed)
        asked = graph(draw, joins=joins)
        nodes = {n: node(draw, n, memory=False) for n in range(300)}
        times = {(work(h), n): Measured(ms=draw.uniform(1, 150)) for h in asked.handlers for n in nodes}
        variant = Variant(variant_name="v", accuracy=None, topology=Topology(asked, PORTS))
        request, kinds = Request(service="s", variants=(variant,)), types(draw, memory=False)
        found = []
        for small in (candidates.SMALL, 1000):
            monkeypatch.setattr(candidates, "SMALL", small)
            snapshot = Snapshot(nodes=nodes, types=kinds, times=times)
            found.append(ALGORITHMS["layered_dp"]().allocate(request, snapshot, None).predicted.latency_ms)
        monkeypatch.undo()
        assert found[0] <= found[1] * (1 if not joins else 1.01) + 1e-3
