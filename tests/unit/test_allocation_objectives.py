"""What the caller asks for is what the algorithms choose, and what they say about it can be followed."""

import pytest

from coordinator.allocation import ALGORITHMS
from coordinator.allocation.base import Decision, LinkView, Measured, Request, Unplaceable, Variant, work
from coordinator.allocation.cost import model
from coordinator.allocation.decide import admissible, decide
from coordinator.allocation.queueing import core_stretch, queue_ms
from coordinator.allocation.service_times import credibility
from tests.unit.test_allocation_algorithms import PORTS, node, request, snapshot, variant
from wire.graph import Topology
from wire.messages import Encoding, Graph, HandlerSpec, Link, Maximize, Minimize, Objective

SEARCHING = ["best_fit", "layered_dp", "throughput"]
HEAVY = variant("hog", 0.99)  # 200 ms
LIGHT = Variant(
    variant_name="light",
    accuracy=0.95,
    topology=Topology(
        Graph(
            handlers=[HandlerSpec(handler_id=1, handler_type=6), HandlerSpec(handler_id=2, handler_type=9)],
            links=[Link(source_handler=1, target_handler=2)],
        ),
        PORTS,
    ),
)  # 102 ms
TINY = Variant(
    variant_name="tiny",
    accuracy=0.8,
    topology=Topology(Graph(handlers=[HandlerSpec(handler_id=1, handler_type=6)]), PORTS),
)  # 2 ms


def ask(name: str, objective: Objective, **changes: object) -> Decision:
    asked = request(variants=admissible([HEAVY, LIGHT, TINY], objective), objective=objective, **changes)
    return decide(ALGORITHMS[name](), asked, snapshot(node(1), node(2)))


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - {"static"}))
@pytest.mark.parametrize(
    ("objective", "chosen"),
    [
        (Objective(), "hog"),
        (Objective(maximize=Maximize.ACCURACY), "hog"),
        (Objective(maximize=Maximize.ACCURACY, max_latency_ms=150), "light"),
        (Objective(maximize=Maximize.ACCURACY, max_latency_ms=50), "tiny"),
        (Objective(minimize=Minimize.LATENCY), "tiny"),
        (Objective(minimize=Minimize.LATENCY, min_accuracy=0.95), "light"),
        (Objective(minimize=Minimize.ENERGY, min_accuracy=0.99), "hog"),
        (Objective(maximize=Maximize.THROUGHPUT), "tiny"),
    ],
)
def test_the_variant_is_the_one_that_was_asked_for(name: str, objective: Objective, chosen: str) -> None:
    decision = ask(name, objective)
    if chosen == "light" and objective.max_latency_ms and decision.variant.variant_name == "tiny":
        assert decision.passed_over["light"]  # a blind algorithm may need hops that break the bound
        assert name in ("random", "round_robin")
        return
    assert decision.variant.variant_name == chosen
    others = {"hog", "light", "tiny"} - {chosen}
    assert set(decision.passed_over) <= others


def test_what_was_passed_over_says_why() -> None:
    passed = ask("layered_dp", Objective(maximize=Maximize.ACCURACY, max_latency_ms=150)).passed_over
    assert passed == {"hog": "variant hog: 200 ms predicted (prior), above max_latency_ms 150"}
    passed = ask("layered_dp", Objective(minimize=Minimize.LATENCY, min_accuracy=0.9)).passed_over
    assert passed["hog"] == "at least 200 ms predicted, 102 ms can be had"


def test_a_bound_that_cannot_be_met_names_for_each_node_what_it_would_give() -> None:
    asked = request(variants=(HEAVY,), objective=Objective(max_latency_ms=150))
    world = snapshot(node(1), node(2, refuses="is down"), node(3, cpu_util=90, cpus=1))
    with pytest.raises(Unplaceable) as caught:
        decide(ALGORITHMS["layered_dp"](), asked, world)
    assert caught.value.reasons[1] == "all of hog there: 200 ms (200 compute, 0 wait, 0 transfer), 10.0 frames/s"
    assert caught.value.reasons[2] == "is down"
    assert "1800 wait" in caught.value.reasons[3]


@pytest.mark.parametrize("name", SEARCHING)
def test_memory_that_is_short_in_sum_is_shared_out(name: str) -> None:
    """Two recognizers of 500 MiB: each node has room for one."""
    graph = Graph(
        handlers=[HandlerSpec(handler_id=1, handler_type=13), HandlerSpec(handler_id=2, handler_type=13)],
        links=[Link(source_handler=1, target_handler=2)],
    )
    asked = request(variants=(Variant(variant_name="two", accuracy=None, topology=Topology(graph, PORTS)),))
    decision = decide(ALGORITHMS[name](), asked, snapshot(node(1, mem_total=600), node(2, mem_total=600)))
    assert {decision.placement.nodes[1], decision.placement.nodes[2]} == {(1,), (2,)}
    with pytest.raises(Unplaceable, match="1000 MiB"):
        decide(ALGORITHMS[name](), asked, snapshot(node(1, mem_total=600)))


def test_layered_dp_goes_where_it_was_measured_to_be_fast_unless_the_way_is_too_long() -> None:
    detector = LIGHT.topology.handlers[2]
    times = {(work(detector), 2): Measured(ms=20)}
    asked = request(variants=(LIGHT,), pins={1: (1,)})
    near = snapshot(node(1), node(2), times=times)
    far = snapshot(node(1), node(2, zone="far"), times=times, links={(1, 2): LinkView(latency_ms=200)})
    assert decide(ALGORITHMS["layered_dp"](), asked, near).placement.nodes[2] == (2,)
    assert decide(ALGORITHMS["layered_dp"](), asked, far).placement.nodes[2] == (1,)


def test_layered_dp_moves_a_handler_away_from_a_busy_node() -> None:
    asked = request(variants=(LIGHT,), pins={1: (1,)})
    world = snapshot(node(1, cpu_util=95), node(2, cpu_util=20))
    assert decide(ALGORITHMS["layered_dp"](), asked, world).placement.nodes[2] == (2,)


def test_best_fit_fills_the_node_with_the_least_room() -> None:
    world = snapshot(node(1, cpus=16), node(2, cpus=4, cpu_util=50), node(3, cpus=8))
    placed = decide(ALGORITHMS["best_fit"](), request(), world).placement.nodes
    assert set(placed.values()) == {(2,)}


def test_throughput_replicates_the_bottleneck_until_the_rate_is_met() -> None:
    world = snapshot(*(node(n) for n in range(1, 6)))
    asked = request(variants=(LIGHT,), objective=Objective(min_fps=25), rate=25.0)
    decision = decide(ALGORITHMS["throughput"](), asked, world)
    assert len(decision.placement.nodes[2]) == 3  # 10 frames/s each
    assert len(decision.placement.nodes[1]) == 1
    assert (decision.predicted.fps or 0) >= 25
    with pytest.raises(Unplaceable, match="below min_fps 25"):
        decide(ALGORITHMS["layered_dp"](), asked, world)


def test_cheap_nodes_are_taken_when_cost_is_what_counts() -> None:
    world = snapshot(node(1, cost_per_hour=3.6), node(2, cost_per_hour=0.36))
    asked = request(variants=(LIGHT,), objective=Objective(minimize=Minimize.COST))
    decision = decide(ALGORITHMS["layered_dp"](), asked, world)
    assert set(decision.placement.nodes.values()) == {(2,)}
    assert decision.predicted.cost_per_1000 == pytest.approx(0.36 / 3600 / 4 * 102)


def test_thrifty_nodes_are_taken_when_energy_is_what_counts() -> None:
    """What a node draws above its idle watts counts; where nobody said, 5 W per core."""
    world = snapshot(node(1, watts_idle=50, watts_busy=90), node(2, watts_idle=100, watts_busy=112), node(3))
    asked = request(variants=(LIGHT,), objective=Objective(minimize=Minimize.ENERGY))
    decision = decide(ALGORITHMS["layered_dp"](), asked, world)
    assert set(decision.placement.nodes.values()) == {(2,)}
    assert decision.predicted.joules == pytest.approx(12 / 4 / 1000 * 102)
    unknown = decide(ALGORITHMS["layered_dp"](), asked, snapshot(node(3))).predicted.joules
    assert unknown == pytest.approx(5 / 1000 * 102)


def test_a_cheap_but_slow_placement_gives_way_to_the_latency_bound() -> None:
    detector = LIGHT.topology.handlers[2]
    times = {(work(detector), 1): Measured(ms=100), (work(detector), 2): Measured(ms=500)}
    world = snapshot(node(1, cost_per_hour=3.6), node(2, cost_per_hour=0.36), times=times)
    objective = Objective(minimize=Minimize.COST, max_latency_ms=150)
    decision = decide(ALGORITHMS["layered_dp"](), request(variants=(LIGHT,), objective=objective), world)
    assert decision.placement.nodes[2] == (1,)


def test_the_explanation_has_the_parts_here_and_elsewhere_and_only_when_asked() -> None:
    world = snapshot(node(1), node(2, zone="far", cpu_util=50, cpus=1), node(3, refuses="is down"))
    silent = decide(ALGORITHMS["layered_dp"](), request(variants=(LIGHT,), entry_node=1), world)
    asked = request(variants=(LIGHT,), entry_node=1, explain=True)
    detect = decide(ALGORITHMS["layered_dp"](), asked, world).explanation[1]
    assert silent.explanation[1].others == {}
    assert detect.why == "best predicted latency: 100.0 ms compute (by its profile) + 0.0 wait + 0.0 transfer"
    assert detect.others[2].startswith("212.4 ms slower: 100.0 ms compute (by its profile) + 100.0 wait + 102.2")
    assert detect.others[3] == "is down"


class Broken:
    def __init__(self, answer: object) -> None:
        self._answer = answer

    def allocate(self, *_: object) -> object:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.mark.parametrize("answer", [ZeroDivisionError("division by zero"), None, {"nodes": {}}])
def test_an_algorithm_that_fails_is_named(answer: object) -> None:
    with pytest.raises(Unplaceable, match="the algorithm Broken failed"):
        decide(Broken(answer), request(), snapshot(node(1)))  # type: ignore[arg-type]


# --- the cost model -----------------------------------------------------------------------------------


def test_waiting_grows_with_utilisation_as_the_formulas_say() -> None:
    assert core_stretch(0.5, 1.0) == pytest.approx(1.0)  # M/M/1: rho / (1 - rho)
    assert core_stretch(0.5, 4.0) == pytest.approx(0.5 ** (10**0.5 - 1) / 2)  # Erlang C for c = 4 gives 0.087
    assert core_stretch(0.5, 4.0) == pytest.approx(0.087, rel=0.3)
    assert core_stretch(2.0, 1.0) == pytest.approx(19)  # capped at 95 %
    assert queue_ms(50.0, 10.0, 1) == pytest.approx(50 * 0.5 / 0.5 * 0.75)
    assert queue_ms(50.0, 10.0, 2) == pytest.approx(3.125, rel=0.1)  # M/M/2: rho^2 / (1 - rho^2), x 0.75


def test_few_frames_are_believed_little_and_many_much() -> None:
    detector = LIGHT.topology.handlers[2]
    assert (credibility(20), credibility(0)) == (0.5, 0)
    few = model(snapshot(node(1), times={(work(detector), 1): Measured(ms=300, frames=2)})).handler(work(detector))
    many = model(snapshot(node(1), times={(work(detector), 1): Measured(ms=300, frames=2000)})).handler(work(detector))
    assert 100 < few.ms[0] < 150
    assert 290 < many.ms[0] < 300


def test_a_node_that_is_slow_at_much_is_thought_slow_at_the_rest() -> None:
    """Three kinds of work took twice as long on node 2 as on node 1: so will the fourth."""
    kinds = [HandlerSpec(handler_id=1, handler_type=t) for t in (6, 9, 13)]
    profile = {6: 2.0, 9: 100.0, 13: 98.0}
    times = {(work(h), n): Measured(ms=profile[h.handler_type] * n, frames=1000) for h in kinds for n in (1, 2)}
    ms = model(snapshot(node(1), node(2), times=times)).handler(work(HandlerSpec(handler_id=4, handler_type=17))).ms
    assert ms[1] / ms[0] > 1.4


def test_pictures_travel_as_their_link_says() -> None:
    def latency(encoding: Encoding) -> float:
        graph = Graph(
            handlers=list(LIGHT.topology.handlers.values()),
            links=[Link(source_handler=1, target_handler=2, encoding=encoding)],
        )
        one = Variant(variant_name="v", accuracy=None, topology=Topology(graph, PORTS))
        asked = request(variants=(one,), pins={1: (1,), 2: (2,)}, entry_node=1)
        return decide(ALGORITHMS["static"](), asked, snapshot(node(1), node(2, zone="far"))).predicted.transfer_ms

    assert latency(Encoding.RAW) == pytest.approx(10 + 92.16 + 10.2)
    assert latency(Encoding.JPEG) == pytest.approx(10 + 6 + 2.3 + 10.2)


def test_what_was_measured_in_a_zone_stands_for_the_rest_of_it() -> None:
    one: Request = request(variants=(LIGHT,), pins={1: (1,), 2: (2,)}, entry_node=1)
    links = {(1, 3): LinkView(latency_ms=40)}
    world = snapshot(node(1), node(2, zone="far"), node(3, zone="far"), links=links)
    assert decide(ALGORITHMS["static"](), one, world).predicted.transfer_ms == pytest.approx(40 + 10.2)
