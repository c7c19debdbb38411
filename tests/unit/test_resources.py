"""Resource files: what they give, and that a wrong one is never skipped."""

import json
from pathlib import Path
from typing import Any

import pytest

from wire.faults import SettingsError
from wire.graph import Topology
from wire.resources import load_handler_types, load_nodes, load_services, port_counts

ROOT = Path(__file__).resolve().parent.parent.parent
LINK = {"source_output": 0, "target_input": 0}


def write(folder: Path, name: str, document: Any) -> Path:
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def handler(handler_id: int, handler_type: int, **params: Any) -> dict[str, Any]:
    return {"handler_id": handler_id, "handler_name": "h", "handler_type": handler_type, "params": params}


def link(source: int, target: int) -> dict[str, Any]:
    return LINK | {"source_handler": source, "target_handler": target}


def template(*parts: tuple[int, list[dict[str, Any]], list[dict[str, Any]]]) -> dict[str, Any]:
    nodes = [{"node_id": n, "blueprint": {"handlers": handlers, "links": links}} for n, handlers, links in parts]
    return {"service_id": 5, "service_name": "old", "template": nodes}


def test_the_files_that_are_shipped_fit_together() -> None:
    """Each variant of each service is a graph that can run with the shipped handler types."""
    types = load_handler_types(ROOT / "config/handlers")
    services = load_services(ROOT / "config/services")
    load_nodes(ROOT / "config/nodes")
    for service in services:
        for variant in service.variants:
            assert Topology(variant.graph, port_counts(types)).order
    assert {service.service_name for service in services} >= {"face_recognition", "face_detection", "camera_preview"}


def test_every_wrong_file_is_named_with_its_fault(tmp_path: Path) -> None:
    write(tmp_path, "a.json", {"node_id": 1, "node_name": "x", "node_addr": "h"})
    write(tmp_path, "b.json", "{")
    write(tmp_path, "c.json", {"node_id": "1", "node_name": "x", "node_addr": "h"})
    write(tmp_path, "d.json", {"node_id": 2, "node_name": "y", "node_addr": "h", "colour": "red"})
    with pytest.raises(SettingsError) as caught:
        load_nodes(tmp_path)
    lines = [str(fault) for fault in caught.value.faults]
    assert [line.partition(":")[0].rpartition("/")[2] for line in lines] == ["b.json", "c.json", "d.json"]
    assert "node_id" in lines[1] and "colour" in lines[2]


def test_an_id_that_two_files_share_is_a_fault_of_the_second(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        write(tmp_path, name, {"node_id": 1, "node_name": name[0], "node_addr": "h"})
    with pytest.raises(SettingsError, match=r"b\.json: node_id 1 is that of a\.json too"):
        load_nodes(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="none: cannot be read: No such file"):
        load_services(tmp_path / "none")


def test_an_older_template_is_one_pinned_variant(tmp_path: Path) -> None:
    """The tx and rx of a port are one link; everything stays where the template has it."""
    first = (1, [handler(10, 2), handler(11, 5), handler(12, 0, addr="h", port=93)], [link(10, 11), link(11, 12)])
    second = (2, [handler(20, 1, port=93), handler(21, 6), handler(22, 8)], [link(20, 21), link(20, 22)])
    write(tmp_path, "old.json", template(first, second))
    service = load_services(tmp_path)[0]
    (variant,) = service.variants
    assert {h.handler_id: h.node_id for h in variant.handlers} == {10: 1, 11: 1, 21: 2, 22: 2}
    ends = sorted((k.source_handler, k.target_handler) for k in variant.links)
    assert ends == [(10, 11), (11, 21), (11, 22)]


def test_a_node_between_two_others_is_passed_through(tmp_path: Path) -> None:
    first = (1, [handler(0, 2), handler(1, 0, port=1)], [link(0, 1)])
    middle = (2, [handler(0, 1, port=1), handler(1, 0, port=2)], [link(0, 1)])
    last = (3, [handler(0, 1, port=2), handler(1, 8)], [link(0, 1)])
    write(tmp_path, "old.json", template(first, middle, last))
    (variant,) = load_services(tmp_path)[0].variants
    (only,) = variant.links
    nodes = {h.handler_id: (h.handler_type, h.node_id) for h in variant.handlers}
    assert (nodes[only.source_handler], nodes[only.target_handler]) == ((2, 1), (8, 3)), (
        "ids that collide are renumbered"
    )


def test_a_tx_without_its_rx_posts_to_the_address_it_names(tmp_path: Path) -> None:
    only = (1, [handler(0, 2), handler(1, 0, addr="10.0.0.9", port=93, protocol="udp")], [link(0, 1)])
    write(tmp_path, "old.json", template(only))
    (variant,) = load_services(tmp_path)[0].variants
    assert variant.handlers[1].params == {"url": "http://10.0.0.9:93/", "lossless": True}


def test_two_that_open_one_port_are_a_fault_of_the_file(tmp_path: Path) -> None:
    write(tmp_path, "old.json", template((1, [handler(0, 1, port=1)], []), (2, [handler(1, 1, port=1)], [])))
    with pytest.raises(SettingsError, match=r"old\.json: two rx handlers open port 1"):
        load_services(tmp_path)
