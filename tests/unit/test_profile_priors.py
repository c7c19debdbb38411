"""What a profile says of other parameters is what the coordinator expects before anything was measured."""

from typing import Any

import pytest

from coordinator.allocation.base import NodeView, Snapshot, TypeView, Variant
from coordinator.allocation.feasibility import memory_mib
from coordinator.allocation.links import load_of
from coordinator.allocation.predict import service_ms
from coordinator.catalogue import Catalogue
from wire.messages import HandlerSpec, Link
from wire.resources import HandlerTypeSpec, NodeFile, Profile, Service, Variation
from wire.resources import Variant as ShippedVariant

PROFILE = Profile(
    ms=60,
    mem_mb=340,
    output_bytes=[500],
    variations=[
        Variation(params={"size": 608}, ms=116, mem_mb=360, output_bytes=[700]),
        Variation(params={"with_crop": True}, ms=61, output_bytes=[500_000]),
        Variation(params={"with_crop": True, "size": 608}, ms=118, mem_mb=361, output_bytes=[700_000]),
    ],
)
NODE = NodeView(node_id=1, cpus=4, mem_total=8000, available=frozenset({7}))


@pytest.fixture
def view(tmp_path: Any) -> TypeView:
    spec = HandlerTypeSpec(
        handler_type=7, name="Yolo", class_name="a:B", inputs=["Image"], outputs=["Boxes"], profile=PROFILE
    )
    variant = ShippedVariant(variant_name="only", handlers=[HandlerSpec(handler_id=1, handler_type=7)])
    service = Service(service_id=1, service_name="s", variants=[variant])
    nodes: list[NodeFile] = []
    return Catalogue([spec], [service], nodes, tmp_path).views[7]


@pytest.mark.parametrize(
    ("params", "ms", "mib", "weight"),
    [
        ({}, 60, 340, 500),
        ({"size": 416}, 60, 340, 500),
        ({"size": 608, "targets": ["person"]}, 116, 360, 700),
        ({"with_crop": True}, 61, 340, 500_000),
        ({"size": 608, "with_crop": True}, 118, 361, 700_000),
    ],
)
def test_the_variation_that_says_most_counts(
    view: TypeView, params: dict[str, Any], ms: float, mib: float, weight: float
) -> None:
    handler = HandlerSpec(handler_id=1, handler_type=7, params=params)
    snapshot = Snapshot(nodes={1: NODE}, types={7: view})
    assert service_ms(handler, 1, snapshot) == (ms, False)
    assert memory_mib(handler, snapshot) == mib
    topology = type("Handlers", (), {"handlers": {1: handler}})()
    variant = Variant(variant_name="v", accuracy=None, topology=topology)
    assert load_of(variant, Link(source_handler=1, target_handler=2), snapshot).bytes == weight
