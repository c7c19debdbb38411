"""The older protocol's graphs as plans of this node."""

import json

import pytest

from node.older import Host, Refused, plan_of
from node.sessions import BadPlan

HOST = Host(node_id=7, data_url="http://127.0.0.1:9100", ports={2: (0, 1), 3: (1, 0), 5: (1, 1)})
CAMERA = {
    "handlers": [
        {"handler_id": 0, "handler_name": "capture", "handler_type": 2, "params": {"source": "a.mp4", "fps": 20}},
        {"handler_id": 1, "handler_name": "render", "handler_type": 3, "params": {}},
    ],
    "links": [{"source_handler": 0, "source_output": 0, "target_handler": 1, "target_input": 0}],
}


def test_all_handlers_run_here_and_the_source_is_the_entry() -> None:
    plan = plan_of(json.loads(json.dumps(CAMERA)), HOST)
    assert plan.local == [0, 1]
    assert plan.entry.node_id == 7
    assert plan.entry.handler_id == 0
    assert {h: [r.url for r in routes] for h, routes in plan.routes.items()} == {0: [HOST.data_url], 1: [HOST.data_url]}
    assert [(r.handler_id, r.output) for r in plan.results] == [(1, 0)], (
        "a sink tells the entry that a frame is through"
    )


def test_keys_are_not_guessable() -> None:
    assert plan_of(CAMERA, HOST).entry.key != plan_of(CAMERA, HOST).entry.key
    assert len(plan_of(CAMERA, HOST).entry.key) >= 32


def test_a_missing_key_is_named() -> None:
    with pytest.raises(Refused, match="handler_type"):
        plan_of({"handlers": [{"handler_id": 0, "params": {}}], "links": []}, HOST)


def test_an_unknown_handler_type_is_named() -> None:
    with pytest.raises(BadPlan, match="no handler type 99"):
        plan_of({"handlers": [{"handler_id": 0, "handler_type": 99}], "links": []}, HOST)
