"""The resource files say what the classes are, the services can run, and the docs name every parameter."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from handlers.base import load_class, read_params
from handlers.types import PORT_TYPES
from tests.handler_support import ROOT
from wire.graph import Topology
from wire.resources import load_services

TYPES = {p.stem: json.loads(p.read_text()) for p in sorted((ROOT / "config/handlers").glob("*.json"))}
SERVICES = {s.service_name: s for s in load_services(ROOT / "config/services")}
BY_ID: dict[int, dict[str, Any]] = {t["handler_type"]: t for t in TYPES.values()}
VARIANTS = [(s, v.variant_name) for s, service in SERVICES.items() for v in service.variants]
PORTS = {t: (len(s["inputs"]), len(s["outputs"])) for t, s in BY_ID.items()}


def test_the_types_of_the_contract_are_there() -> None:
    assert set(BY_ID) >= set(range(23))


@pytest.mark.parametrize("name", TYPES)
def test_a_type_file_says_what_its_class_is(name: str) -> None:
    spec = TYPES[name]
    cls = load_class(spec["class"])
    assert spec["name"] == cls.__name__
    assert [PORT_TYPES[n] for n in spec["inputs"]] == list(cls.inputs)
    assert [PORT_TYPES[n] for n in spec["outputs"]] == list(cls.outputs)
    assert spec["params"] == msgspec.to_builtins(read_params(cls, {}))
    assert (spec["stateful"], spec["profile"]["ms"] > 0, spec["profile"]["mem_mb"] > 0) == (cls.stateful, True, True)


@pytest.mark.parametrize(("service", "name"), VARIANTS)
def test_every_variant_can_run(service: str, name: str) -> None:
    graph = next(v for v in SERVICES[service].variants if v.variant_name == name).graph
    topology = Topology(graph, PORTS)
    types = {h.handler_id: BY_ID[h.handler_type] for h in graph.handlers}
    for handler in graph.handlers:
        read_params(load_class(types[handler.handler_id]["class"]), handler.params)
    for link in graph.links:
        source, target = types[link.source_handler]["outputs"], types[link.target_handler]["inputs"]
        assert source[link.source_output] == target[link.target_input]
    assert topology.has_source == (service == "camera_preview" or service.startswith("offload_"))


@pytest.mark.parametrize("service", ["face_recognition", "face_detection"])
def test_drawing_happens_on_demand_only(service: str) -> None:
    graph = SERVICES[service].variants[0].graph
    topology = Topology(graph, PORTS)
    drawing = [
        k for k in graph.links if k.target_handler in (graph.handlers[-1].handler_id, graph.handlers[-2].handler_id)
    ]
    assert drawing and all(e.on_demand for k in drawing for e in topology.needed_by(k))
    assert [e.on_demand for e in topology.exits] == [False, True]


def test_the_first_variants_are_those_of_the_contract() -> None:
    assert [v.variant_name for v in SERVICES["face_recognition"].variants][:2] == ["hog", "haar"]
    assert [v.variant_name for v in SERVICES["face_detection"].variants][:2] == ["haar", "hog"]


def test_the_services_of_the_product_have_their_variants() -> None:
    names = {s: {v.variant_name for v in service.variants} for s, service in SERVICES.items()}
    recognition = {"haar", "hog", "yunet_sface", "mtcnn_facenet", "mmod_dlib", "hog_openface"}
    assert names["face_recognition"] >= recognition
    things = {"yolov3_tiny_320", "yolov3_tiny_416", "yolov3_tiny_608", "ssd_mobilenet_v2", "nanodet"}
    assert names["object_detection"] >= things and names["people_tracking"] >= things
    assert names["face_detection"] >= {"haar", "hog", "yunet", "mtcnn", "mmod"}


@pytest.mark.parametrize("service", [s for s in SERVICES if s.startswith("offload_")])
def test_an_offloaded_service_leaves_the_camera_where_it_is(service: str) -> None:
    """Handlers placed by hand: the camera's node does no more than it must."""
    for variant in SERVICES[service].variants:
        nodes = {h.handler_id: h.node_id for h in variant.handlers}
        light = {h.handler_id for h in variant.handlers if h.node_id == 1}
        assert set(nodes.values()) == {1, 2}
        assert [h.handler_type for h in variant.handlers if h.handler_id in light] == [2, 5]
        hops = [k for k in variant.links if nodes[k.source_handler] != nodes[k.target_handler]]
        assert [(k.source_handler in light, k.target_handler in light) for k in hops] == [(True, False)]


@pytest.mark.parametrize("name", TYPES)
def test_the_docs_tell_every_parameter(name: str) -> None:
    text = Path(ROOT / "docs/handlers.md").read_text()
    spec = TYPES[name]
    section = text.partition(f"## {spec['handler_type']} {spec['name']}\n")[2].partition("\n## ")[0]
    assert section, f"no section for {spec['name']}"
    for parameter in spec["params"]:
        assert f"`{parameter}`" in section


@pytest.mark.parametrize(
    ("handler_type", "params"),
    [
        (5, {"quality": 101}),
        (5, {"quality": "80"}),
        (6, {"max_pixels": 0}),
        (8, {"scale_factor": 1.0}),
        (9, {"upsample": 4}),
        (9, {"sensitivity": 1}),
        (13, {"predictor": "7"}),
        (13, {"thresh": -0.1}),
        (7, {"size": 400}),
        (15, {"dim": 96}),
        (21, {"max_age": -1}),
        (4, {"width": -1}),
        (0, {"protocol": "udp"}),
    ],
)
def test_parameters_have_bounds(handler_type: int, params: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        read_params(load_class(BY_ID[handler_type]["class"]), params)
