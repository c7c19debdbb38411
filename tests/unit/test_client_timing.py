"""A frame's time, split by handler and hop."""

from typing import Any

import pytest

from client.demo.timing import parts, rest_ms
from client.results import Result, read

# decode (0) and detect (1) on node 1; recognize (2) and draw (3, which joins 0 and 2) on node 2
VARIANT: dict[str, Any] = {
    "handlers": [{"handler_id": i, "handler_name": n} for i, n in enumerate(("decode", "detect", "recognize", "draw"))],
    "links": [{"source_handler": s, "target_handler": t} for s, t in ((0, 1), (1, 2), (0, 3), (2, 3))],
}


def result(draw_received: float = 1.400) -> Result:
    trace = [
        {"handler_id": 0, "node_id": 1, "received": 1.000, "start": 1.001, "end": 1.011},
        {"handler_id": 1, "node_id": 1, "received": 1.012, "start": 1.012, "end": 1.112},
        {"handler_id": 2, "node_id": 2, "received": 1.120, "start": 1.121, "end": 1.321},
        {"handler_id": 3, "node_id": 2, "received": draw_received, "start": 1.400, "end": 1.410},
    ]
    return read({"session_id": 1, "sequence": 0, "status": "ok", "trace": trace, "latency_ms": 430.0}, 0, "a.jpg")


def test_handlers_and_hops_come_in_order_of_time() -> None:
    found = [(part.name, round(part.ms)) for part in parts(result(), VARIANT)]
    assert found == [
        ("decode @1", 10),
        ("detect @1", 100),
        ("hop 1→2 recognize", 8),
        ("recognize @2", 200),
        ("draw @2", 10),
    ]


def test_a_hop_hidden_behind_other_work_is_no_time_of_the_frame() -> None:
    """Draw's picture came over from node 1 long before the names did: waiting for them is not the network's time."""
    assert not [part for part in parts(result(), VARIANT) if part.name.startswith("hop") and "draw" in part.name]


def test_the_rest_is_what_no_part_explains() -> None:
    found = parts(result(), VARIANT)
    assert rest_ms(result(), found) == pytest.approx(430 - (10 + 100 + 8 + 200 + 10))


def test_parts_that_overlap_count_once() -> None:
    found = parts(result(), VARIANT)
    assert rest_ms(result(), found + found) == pytest.approx(rest_ms(result(), found))
