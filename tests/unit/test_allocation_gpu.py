"""A handler with `gpu` goes where a GPU has the memory for it; what it takes to load is what moving it costs."""

import msgspec
import pytest

from coordinator import snapshot as snapshots
from coordinator.allocation import ALGORITHMS
from coordinator.allocation.base import NodeView, Placement, Request, Snapshot, TypeView, Unplaceable, Variant
from coordinator.allocation.decide import decide
from coordinator.allocation.feasibility import check, gpu_short
from coordinator.snapshot import NodeStatus, Sampled
from wire.graph import Topology
from wire.messages import Gpu, Graph, HandlerAvailability, HandlerSpec, Hardware, Heartbeat, Link, Load, ResultSpec

YOLO = 7
SEARCHING = ("layered_dp", "least_loaded", "best_fit", "throughput", "round_robin", "random")


def request(*, gpu: bool) -> Request:
    graph = Graph(
        handlers=[HandlerSpec(handler_id=1, handler_type=YOLO, params={"gpu": gpu})],
        results=[ResultSpec(handler_id=1)],
    )
    variant = Variant(variant_name="v", accuracy=None, topology=Topology(graph, {YOLO: (1, 1)}))
    return Request(service="s", variants=(variant,))


def world(*gpu_free: float | None) -> Snapshot:
    view = TypeView(handler_type=YOLO, name="Yolo", service_ms=20, gpu_memory_mib=600, outputs=("Boxes",))
    nodes = {
        n: NodeView(node_id=n, available=frozenset({YOLO}), gpu_mem_free=free) for n, free in enumerate(gpu_free, 1)
    }
    return Snapshot(nodes=nodes, types={YOLO: view})


@pytest.mark.parametrize("name", SEARCHING)
def test_the_node_whose_gpu_has_the_memory_is_taken(name: str) -> None:
    decision = decide(ALGORITHMS[name](), request(gpu=True), world(None, 500.0, 700.0))
    assert decision.placement.nodes == {1: (3,)}


@pytest.mark.parametrize("name", SEARCHING)
def test_without_room_on_any_gpu_each_node_says_what_it_lacks(name: str) -> None:
    with pytest.raises(Unplaceable) as caught:
        decide(ALGORITHMS[name](), request(gpu=True), world(None, 500.0))
    assert caught.value.reasons == {1: "has no GPU", 2: "needs 600 MiB of a GPU, 500 are free"}


def test_a_handler_that_uses_no_gpu_needs_none() -> None:
    assert decide(ALGORITHMS["layered_dp"](), request(gpu=False), world(None)).placement.nodes == {1: (1,)}


def test_what_runs_there_already_stays() -> None:
    current = Placement(nodes={1: (1,)}, entry_node=1)
    found = decide(ALGORITHMS["layered_dp"](), request(gpu=True), world(100.0), current)
    assert found.placement.nodes == {1: (1,)}


def two(*gpus: tuple[float, ...]) -> tuple[Request, Snapshot]:
    """A chain of two handlers that want 600 MiB of a GPU each; nodes with these GPUs."""
    specs = [HandlerSpec(handler_id=i, handler_type=YOLO, params={"gpu": True}) for i in (1, 2)]
    links = [Link(source_handler=1, target_handler=2, target_input=0)]
    topology = Topology(Graph(handlers=specs, links=links, results=[ResultSpec(handler_id=2)]), {YOLO: (1, 1)})
    view = TypeView(handler_type=YOLO, name="Yolo", service_ms=20, gpu_memory_mib=600, outputs=("Boxes",))
    nodes = {
        n: NodeView(node_id=n, available=frozenset({YOLO}), gpu_mem_free=max(free, default=None), gpus_free=free)
        for n, free in enumerate(gpus, 1)
    }
    variant = Variant(variant_name="v", accuracy=None, topology=topology)
    return Request(service="s", variants=(variant,)), Snapshot(nodes=nodes, types={YOLO: view})


@pytest.mark.parametrize("name", [*SEARCHING, "heft", "weighted_random"])
def test_handlers_that_come_to_one_gpu_fit_there_together(name: str) -> None:
    decision = decide(ALGORITHMS[name](), *two((1000.0,), (1000.0,)))
    assert sorted(decision.placement.nodes.values()) == [(1,), (2,)]


@pytest.mark.parametrize("name", ["layered_dp", "throughput", "least_loaded", "best_fit", "heft"])
def test_a_second_gpu_takes_the_second_handler_but_half_of_one_on_each_is_no_room(name: str) -> None:
    decision = decide(ALGORITHMS[name](), *two((500.0, 500.0, 500.0), (700.0, 700.0)))
    assert decision.placement.nodes == {1: (2,), 2: (2,)}


@pytest.mark.parametrize("name", [*SEARCHING, "heft"])
def test_without_room_for_both_the_node_says_so(name: str) -> None:
    with pytest.raises(Unplaceable) as caught:
        decide(ALGORITHMS[name](), *two((1000.0,), ()))
    assert "600 MiB of a GPU" in caught.value.reasons[1] or "1200 MiB of GPUs, 1000" in caught.value.reasons[1]


def test_cpsat_gives_each_handler_a_gpu_of_its_node() -> None:
    pytest.importorskip("ortools")
    assert decide(ALGORITHMS["cpsat"](), *two((900.0,), (700.0, 700.0))).placement.nodes == {1: (2,), 2: (2,)}


def test_whoever_decided_it_two_handlers_on_a_gpu_for_one_are_refused() -> None:
    request, snapshot = two((1000.0,), (1000.0,))
    decision = decide(ALGORITHMS["layered_dp"](), request, snapshot)
    together = msgspec.structs.replace(decision, placement=Placement(nodes={1: (1,), 2: (1,)}, entry_node=1))
    with pytest.raises(Unplaceable) as caught:
        check(together, request, snapshot)
    assert caught.value.reasons == {1: "needs 600 MiB of a GPU, 1000 are free for it and others that want 600"}
    check(together, request, snapshot, current=Placement(nodes={1: (1,)}, entry_node=1))  # one is there already


@pytest.mark.parametrize(
    ("wants", "free", "short"),
    [((), (), 0), ((600,), (), 600), ((400, 600), (1000,), 0), ((400, 601), (1000,), 400), ((3, 3, 2, 2), (5, 5), 0),
     ((500, 500), (900, 500), 0), ((0,), (), 0)],
)  # fmt: skip
def test_wants_are_packed_onto_gpus_the_largest_first(
    wants: tuple[float, ...], free: tuple[float, ...], short: float
) -> None:
    assert gpu_short(wants, free) == short


def beat(*gpus: Gpu) -> Heartbeat:
    return Heartbeat(
        node_id=1,
        node_name="n",
        boot_id="a",
        control_url="c",
        data_url="d",
        handlers=[HandlerAvailability(handler_type=YOLO, name="Yolo", available=True)],
        hardware=Hardware(cpus=2, mem_total=4000, gpus=list(gpus)),
        load=Load(cpu_util=1, mem_util=1),
        timestamp=0.0,
    )


@pytest.mark.parametrize(
    ("gpus", "used", "free"),
    [((), None, None), ((8000,), None, 8000.0), ((8000,), 25.0, 6000.0), ((4000, 8000), 50.0, 4000.0)],
)
def test_free_gpu_memory_is_of_the_largest_by_the_latest_sample(
    gpus: tuple[int, ...], used: float | None, free: float | None
) -> None:
    heard = beat(*(Gpu(gpu_id=i, name="g", mem_total=mib) for i, mib in enumerate(gpus)))
    sample = Sampled(timestamp=100.0, cpu_util=1, mem_util=1, gpu_mem_util=used)
    found = snapshots.build({1: NodeStatus(heartbeat=heard)}, {}, [], {1: sample}, now=100.0)
    assert found.nodes[1].gpu_mem_free == free
    assert found.nodes[1].gpus == tuple(mib * (1 - (used or 0) / 100) for mib in gpus)
    assert msgspec.structs.asdict(found.nodes[1])["mem_total"] == 4000
