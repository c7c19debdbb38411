"""A handler with `gpu` goes where a GPU has the memory for it; what it takes to load is what moving it costs."""

import msgspec
import pytest

from coordinator import snapshot as snapshots
from coordinator.allocation import ALGORITHMS
from coordinator.allocation.base import NodeView, Placement, Request, Snapshot, TypeView, Unplaceable, Variant
from coordinator.allocation.decide import decide
from coordinator.snapshot import NodeStatus, Sampled
from wire.graph import Topology
from wire.messages import Gpu, Graph, HandlerAvailability, HandlerSpec, Hardware, Heartbeat, Load, ResultSpec

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
    assert msgspec.structs.asdict(found.nodes[1])["mem_total"] == 4000
