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
from wire.messages import Graph

TYPES = {p.stem: json.loads(p.read_text()) for p in sorted((ROOT / "config/handlers").glob("*.json"))}
SERVICES = {p.stem: json.loads(p.read_text()) for p in sorted((ROOT / "config/services").glob("*.json"))}
BY_ID: dict[int, dict[str, Any]] = {t["handler_type"]: t for t in TYPES.values()}
VARIANTS = [(s, v["variant_name"]) for s, body in SERVICES.items() for v in body["variants"]]


def variant(service: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(v for v in SERVICES[service]["variants"] if v["variant_name"] == name)
    return found


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
    body = variant(service, name)
    graph = msgspec.convert({k: body[k] for k in ("handlers", "links", "results")}, Graph)
    topology = Topology(graph, {t: (len(s["inputs"]), len(s["outputs"])) for t, s in BY_ID.items()})
    types = {h.handler_id: BY_ID[h.handler_type] for h in graph.handlers}
    for handler in graph.handlers:
        read_params(load_class(types[handler.handler_id]["class"]), handler.params)
    for link in graph.links:
        source, target = types[link.source_handler]["outputs"], types[link.target_handler]["inputs"]
        assert source[link.source_output] == target[link.target_input]
    assert topology.has_source == (service == "camera_preview")


@pytest.mark.parametrize("service", ["face_recognition", "face_detection"])
def test_drawing_happens_on_demand_only(service: str) -> None:
    body = SERVICES[service]["variants"][0]
    graph = msgspec.convert({k: body[k] for k in ("handlers", "links", "results")}, Graph)
    topology = Topology(graph, {t: (len(s["inputs"]), len(s["outputs"])) for t, s in BY_ID.items()})
    drawing = [
        k for k in graph.links if k.target_handler in (graph.handlers[-1].handler_id, graph.handlers[-2].handler_id)
    ]
    assert drawing and all(e.on_demand for k in drawing for e in topology.needed_by(k))
    assert [e.on_demand for e in topology.exits] == [False, True]


def test_the_first_variants_are_those_of_the_contract() -> None:
    assert [v["variant_name"] for v in SERVICES["face_recognition"]["variants"]][:2] == ["hog", "haar"]
    assert [v["variant_name"] for v in SERVICES["face_detection"]["variants"]][:2] == ["haar", "hog"]


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
