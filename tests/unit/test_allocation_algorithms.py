"""What each algorithm decides on three small nodes, and what it says about it."""

from typing import Any

import pytest

from coordinator.allocation import ALGORITHMS, AlgorithmError, load_algorithms
from coordinator.allocation.base import (
    LinkView,
    Measured,
    NodeView,
    Placement,
    Request,
    Snapshot,
    TypeView,
    Unplaceable,
    Variant,
    work,
)
from coordinator.allocation.decide import BadDecision, admissible, decide
from coordinator.allocation.feasibility import check
from coordinator.allocation.predict import service_ms
from wire.graph import Topology
from wire.messages import Graph, HandlerSpec, Link, Maximize, Objective, ResultSpec

PORTS = {6: (1, 1), 9: (1, 1), 13: (1, 1), 17: (2, 1)}
TYPES = {
    6: TypeView(handler_type=6, name="Decode", service_ms=2, outputs=("Image",)),
    9: TypeView(handler_type=9, name="Hog", service_ms=100),
    13: TypeView(handler_type=13, name="Recognize", service_ms=98, memory_mib=500),
    17: TypeView(handler_type=17, name="Draw", service_ms=5, stateful=True),
}


def variant(name: str = "hog", accuracy: float | None = 0.9, params: dict[str, Any] | None = None) -> Variant:
    """decode -> detect -> recognize -> draw (joined with the picture), the drawing on demand."""
    graph = Graph(
        handlers=[
            HandlerSpec(handler_id=1, handler_type=6),
            HandlerSpec(handler_id=2, handler_type=9, params=params or {}),
            HandlerSpec(handler_id=3, handler_type=13),
            HandlerSpec(handler_id=4, handler_type=17),
        ],
        links=[
            Link(source_handler=1, target_handler=2),
            Link(source_handler=2, target_handler=3),
            Link(source_handler=1, target_handler=4),
            Link(source_handler=3, target_handler=4, target_input=1),
        ],
        results=[ResultSpec(handler_id=3), ResultSpec(handler_id=4, on_demand=True)],
    )
    return Variant(variant_name=name, accuracy=accuracy, topology=Topology(graph, PORTS))


def node(node_id: int, cpu_util: float = 0.0, **changes: Any) -> NodeView:
    values: dict[str, Any] = {"cpus": 4, "mem_total": 8000, "available": frozenset(PORTS), "cpu_util": cpu_util}
    return NodeView(node_id=node_id, **(values | changes))


def snapshot(*nodes: NodeView, **more: Any) -> Snapshot:
    return Snapshot(nodes={n.node_id: n for n in nodes}, types=TYPES, **more)


def request(**changes: Any) -> Request:
    return Request(**({"service": "faces", "variants": (variant(),)} | changes))


def allocate(
    name: str, asked: Request, world: Snapshot, current: Placement | None = None
) -> dict[int, tuple[int, ...]]:
    decision = ALGORITHMS[name]().allocate(asked, world, current)
    check(decision, asked, world, current)
    return dict(decision.placement.nodes)


def test_least_loaded_takes_the_idle_node_and_moves_on_when_it_fills() -> None:
    world = snapshot(node(1, 60), node(2, 0), node(3, 11))
    placed = allocate("least_loaded", request(), world)
    assert placed[1] == placed[2] == (2,)  # 1 % and then 12 % after the detector
    assert placed[3] == (3,)


def test_least_loaded_says_why_not_the_others() -> None:
    world = snapshot(node(1, 60), node(2, 5), node(3, refuses="is down"))
    decision = ALGORITHMS["least_loaded"]().allocate(request(), world, None)
    first = decision.explanation[0]
    assert (first.nodes, first.why) == ((2,), "least loaded: 5 %")
    assert first.others == {1: "load 60 %", 3: "is down"}


def test_a_tie_keeps_the_frames_where_they_are() -> None:
    one = NodeView(node_id=1, cpus=1000, available=frozenset(PORTS))
    two = NodeView(node_id=2, cpus=1000, available=frozenset(PORTS))
    assert set(allocate("least_loaded", request(entry_node=2), snapshot(one, two)).values()) == {(2,)}
    assert set(allocate("least_loaded", request(), snapshot(one, two)).values()) == {(1,)}


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_pins_hold_in_every_algorithm(name: str) -> None:
    pins = {1: (1,), 2: (2, 3), 3: (3,), 4: (1,)}
    placed = allocate(name, request(pins=pins, seed=5), snapshot(node(1), node(2), node(3)))
    assert {h: tuple(sorted(nodes)) for h, nodes in placed.items()} == pins


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - {"static"}))
def test_replicas_run_on_so_many_different_nodes(name: str) -> None:
    placed = allocate(name, request(replicas={2: 2}), snapshot(node(1), node(2), node(3)))
    assert len(set(placed[2])) == 2


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - {"static"}))
def test_unplaceable_names_each_node_with_its_reason(name: str) -> None:
    world = snapshot(
        node(1, available=frozenset({6, 9, 17}), unavailable={13: "model dlib-resnet is missing"}),
        node(2, refuses="is cordoned"),
        node(3, mem_total=300),
    )
    with pytest.raises(Unplaceable) as caught:
        allocate(name, request(), world)
    assert caught.value.handler_id == 3
    assert "model dlib-resnet is missing" in caught.value.reasons[1]
    assert caught.value.reasons[2] == "is cordoned"
    assert caught.value.reasons[3] == "needs 500 MiB, 300 MiB are free"


def test_too_few_nodes_for_the_replicas_have_a_reason_each() -> None:
    with pytest.raises(Unplaceable, match="wants 3 nodes, 2 can run it") as caught:
        allocate("least_loaded", request(replicas={2: 3}), snapshot(node(1), node(2)))
    assert caught.value.reasons == {1: "can run one of them", 2: "can run one of them"}


def test_static_wants_a_pin_for_every_handler() -> None:
    with pytest.raises(Unplaceable, match="handler 2 has no pin"):
        allocate("static", request(pins={1: (1,)}), snapshot(node(1)))


def test_round_robin_takes_turns_and_goes_on_with_the_next_session() -> None:
    world = snapshot(node(1), node(2), node(3))
    first = allocate("round_robin", request(), world)
    assert first == {1: (1,), 2: (2,), 3: (3,), 4: (1,)}
    later = snapshot(node(1), node(2), node(3), placements={1: Placement(nodes=first, entry_node=1)})
    assert allocate("round_robin", request(), later)[1] == (2,)


def test_random_is_given_by_its_seed() -> None:
    world = snapshot(*(node(n) for n in range(1, 9)))
    assert allocate("random", request(seed=3), world) == allocate("random", request(seed=3), world)
    assert len({str(allocate("random", request(seed=s), world)) for s in range(9)}) > 1


def test_labels_are_wanted_of_every_node() -> None:
    world = snapshot(node(1), node(2, labels=frozenset({"gpu"})))
    assert set(allocate("least_loaded", request(labels=frozenset({"gpu"})), world).values()) == {(2,)}


def test_prediction_leaves_out_what_runs_on_demand_and_counts_hops_and_the_way_back() -> None:
    pins = {1: (1,), 2: (1,), 3: (2,), 4: (2,)}
    asked = request(pins=pins)
    world = snapshot(node(1), node(2), links={(1, 2): LinkView(latency_ms=7), (2, 1): LinkView(latency_ms=3)})
    predicted = ALGORITHMS["static"]().allocate(asked, world, None).predicted
    assert (predicted.latency_ms, predicted.fps, predicted.basis) == (2 + 100 + 98 + 7 + 3, 10.0, "prior")
    assert (predicted.compute_ms, predicted.wait_ms, predicted.transfer_ms) == (200, 0, 10)


def test_prediction_prefers_what_was_measured_with_the_same_parameters() -> None:
    detector = variant().topology.handlers[2]
    world = snapshot(node(1), times={(work(detector), 1): Measured(ms=40.0)})
    same = ALGORITHMS["random"]().allocate(request(), world, None).predicted
    other = ALGORITHMS["random"]().allocate(request(variants=(variant(params={"upsample": 2}),)), world, None).predicted
    ms, measured = service_ms(detector, 1, world)
    assert (round(ms, 2), measured) == (40.0, True)
    assert (same.basis, other.basis) == ("mixed", "prior")
    assert other.latency_ms > same.latency_ms + 30


def test_a_variant_that_fits_nowhere_gives_way_to_the_next_and_is_named() -> None:
    graph = Graph(handlers=[HandlerSpec(handler_id=1, handler_type=6)])
    light = Variant(variant_name="light", accuracy=0.5, topology=Topology(graph, PORTS))
    world = snapshot(node(1, available=frozenset({6}), unavailable={9: "no model"}))
    decision = decide(ALGORITHMS["least_loaded"](), request(variants=(variant(), light)), world)
    assert decision.variant.variant_name == "light"
    assert "handler 2" in decision.passed_over["hog"]


def test_a_bound_that_no_variant_meets_is_refused() -> None:
    asked = request(objective=Objective(max_latency_ms=50))
    with pytest.raises(Unplaceable, match="above max_latency_ms 50"):
        decide(ALGORITHMS["least_loaded"](), asked, snapshot(node(1)))


def test_accuracy_orders_and_bounds_the_variants() -> None:
    variants = [variant("haar", 0.8), variant("hog", 0.9), variant("who", None)]
    names = [v.variant_name for v in admissible(variants, Objective(maximize=Maximize.ACCURACY, min_accuracy=0.5))]
    assert names == ["hog", "haar"]


def test_a_handler_may_stay_on_a_cordoned_node_but_not_come_to_it() -> None:
    world = snapshot(node(1, refuses="is cordoned"), node(2))
    pins = {1: (1,), 2: (2,), 3: (2,), 4: (2,)}
    there = Placement(nodes=pins, entry_node=1)
    assert allocate("static", request(pins=pins), world, there)[1] == (1,)
    with pytest.raises(Unplaceable):
        allocate("static", request(pins=pins), world)


class Cheat:
    """Puts everything on node 9, whatever it is asked."""

    def allocate(self, asked: Request, world: Snapshot, current: Placement | None) -> Any:
        pins = dict.fromkeys(asked.variants[0].topology.order, (1,))
        honest = ALGORITHMS["static"]().allocate(request(pins=pins), world, None)
        return honest.__class__(
            variant=honest.variant,
            placement=Placement(nodes=dict.fromkeys(pins, (9,)), entry_node=9),
            predicted=honest.predicted,
            explanation=honest.explanation,
        )


def test_a_users_algorithm_is_loaded_by_name_and_checked_like_any() -> None:
    algorithms = load_algorithms({"cheat": f"{__name__}:Cheat"})
    with pytest.raises(Unplaceable) as caught:
        decide(algorithms["cheat"], request(), snapshot(node(1)))
    assert caught.value.reasons == {9: "not a known node"}


@pytest.mark.parametrize("spec", ["nowhere:Class", "coordinator.allocation:Nothing", "json:JSONDecoder", "json"])
def test_an_algorithm_that_cannot_be_used_is_named(spec: str) -> None:
    with pytest.raises(AlgorithmError, match=f"mine = {spec}"):
        load_algorithms({"mine": spec})


@pytest.mark.parametrize("handler", [1, 3])
def test_one_handler_is_placed_anew_while_the_others_are_where_they_are(handler: int) -> None:
    """What a repair asks: memory differs by node for what runs already, and not for what has lost its place."""
    stay = {h: (1,) for h in (1, 2, 3, 4) if h != handler}
    asked = request(pins=stay, replicas=dict.fromkeys((1, 2, 3, 4), 1), entry_node=1)
    here = Placement(nodes=stay | {handler: ()}, entry_node=1)
    world = snapshot(node(1), node(2, refuses="is down"), node(3))
    assert allocate("layered_dp", asked, world, here) == stay | {handler: (1,)}


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"entry_node": 2}, "the entry node takes no sessions"),
        ({"replicas": {4: 2}}, "is stateful: one node only"),
        ({"pins": {4: (1, 3)}}, "is stateful: one node only"),
    ],
)
def test_what_no_algorithm_can_give_is_the_requests_fault(name: str, asked: dict[str, Any], says: str) -> None:
    with pytest.raises(Unplaceable) as refused:
        decide(ALGORITHMS[name](), request(**asked), snapshot(node(1), node(2, refuses="is cordoned"), node(3)))
    assert says in refused.value.detail
    assert not isinstance(refused.value, BadDecision), "nor the algorithm's"
