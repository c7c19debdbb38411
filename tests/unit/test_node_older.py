"""The older protocol's graphs as plans of this node."""

import json
import logging
from typing import Any

import pytest

from node.older import Host, Refused, plan_of, read
from node.sessions import BadPlan

HOST = Host(node_id=7, data_url="http://127.0.0.1:9100", ports={0: (1, 0), 1: (1, 1), 2: (0, 1), 3: (1, 0), 5: (1, 1)})
CAMERA = {
    "handlers": [
        {"handler_id": 0, "handler_name": "capture", "handler_type": 2, "params": {"source": "a.mp4", "fps": 20}},
        {"handler_id": 1, "handler_name": "render", "handler_type": 3, "params": {}},
    ],
    "links": [{"source_handler": 0, "source_output": 0, "target_handler": 1, "target_input": 0}],
}


def test_all_handlers_run_here_and_the_source_is_the_entry() -> None:
    plan = plan_of(read(json.loads(json.dumps(CAMERA))).graph, HOST)
    assert plan.local == [0, 1]
    assert plan.entry.node_id == 7
    assert plan.entry.handler_id == 0
    assert {h: [r.url for r in routes] for h, routes in plan.routes.items()} == {0: [HOST.data_url], 1: [HOST.data_url]}
    assert [(r.handler_id, r.output) for r in plan.results] == [(1, 0)], (
        "a sink tells the entry that a frame is through"
    )


def test_keys_are_not_guessable() -> None:
    graph = read(CAMERA).graph
    assert plan_of(graph, HOST).entry.key != plan_of(graph, HOST).entry.key
    assert len(plan_of(graph, HOST).entry.key) >= 32


def test_a_missing_key_is_named() -> None:
    with pytest.raises(Refused, match="handler_type"):
        read({"handlers": [{"handler_id": 0, "params": {}}], "links": []})


def test_an_unknown_handler_type_is_named() -> None:
    with pytest.raises(BadPlan, match="no handler type 99"):
        plan_of(read({"handlers": [{"handler_id": 0, "handler_type": 99}], "links": []}).graph, HOST)


def steps(*handlers: tuple[int, dict[str, Any]]) -> dict[str, Any]:
    """Return handlers (handler_type, params), numbered and linked one after the other."""
    return {
        "handlers": [{"handler_id": n, "handler_type": t, "params": p} for n, (t, p) in enumerate(handlers)],
        "links": [{"source_handler": n, "target_handler": n + 1} for n in range(len(handlers) - 1)],
    }


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_a_tx_posts_to_the_address_it_names_and_the_log_says_that_it_is_http(
    protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    blueprint = read(steps((2, {"source": "a.mp4"}), (0, {"addr": "10.0.0.9", "port": 9302, "protocol": protocol})))
    assert blueprint.graph.handlers[1].params == {"url": "http://10.0.0.9:9302/", "lossless": True}
    assert blueprint.entry_port is None
    assert f"HTTP, not {protocol}" in caplog.text


def test_an_rx_opens_its_port_and_is_the_entry(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    blueprint = read(steps((1, {"port": 9302, "protocol": "udp"}), (5, {})))
    assert (blueprint.entry_port, plan_of(blueprint.graph, HOST).entry.handler_id) == (9302, 0)
    assert blueprint.graph.handlers[0].params == {}
    assert "opens port 9302 for frames over HTTP, not udp" in caplog.text


def test_a_node_that_passes_frames_on_may_use_one_port_number_twice() -> None:
    """Its rx and its tx are two ends of two links: the other ends are on other nodes."""
    blueprint = read(steps((1, {"port": 93}), (5, {}), (0, {"addr": "10.0.0.9", "port": 93})))
    assert (blueprint.entry_port, len(blueprint.graph.handlers)) == (93, 3)


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        ((0, {"port": 0}), "port"),
        ((0, {"port": "9302"}), "port"),
        ((0, {"port": 9302, "addr": "a/b"}), "addr"),
        ((0, {"port": 9302, "host": "b"}), "host"),
        ((1, {"port": 65536}), "port"),
    ],
)
def test_wrong_places_are_refused_by_name(handler: tuple[int, dict[str, Any]], why: str) -> None:
    with pytest.raises(Refused, match=rf"handler 0: .*{why}"):
        read(steps(handler))


def test_one_part_has_one_entry() -> None:
    with pytest.raises(Refused, match="2 rx handlers"):
        read({"handlers": [{"handler_id": n, "handler_type": 1, "params": {"port": 90 + n}} for n in (0, 1)]})
