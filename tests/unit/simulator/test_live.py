"""A running system as a scenario: what its coordinator's lists say, and the what-if questions on it."""

from typing import Any

import msgspec
import pytest

from simulator import live
from simulator.__main__ import main
from simulator.run import Run
from simulator.scenario import ScenarioError

Json = dict[str, Any]


def node(node_id: int, name: str, state: str = "up") -> Json:
    kinds = [
        {"name": n, "handler_type": t, "available": True} for t, n in ((6, "Decode"), (18, "Detect"), (17, "Draw"))
    ]
    hardware = {"cpus": 2, "mem_total": 4000}
    return {"node_id": node_id, "node_name": name, "state": state, "zone": "", "hardware": hardware, "handlers": kinds}


def kind(number: int, name: str, ms: float, inputs: list[str], output: str) -> Json:
    profile = {"ms": ms, "mem_mb": 80, "output_bytes": []}
    return {
        "handler_type": number, "name": name, "inputs": inputs, "outputs": [output], "params": {}, "stateful": False,
        "profile": profile,
    }  # fmt: skip


def session(**changes: Any) -> Json:
    handlers = [
        {"node_id": 20, "handler_id": 1, "service_ms": 40.0},
        {"node_id": 10, "handler_id": 0, "service_ms": 2.0},
    ]
    return {
        "session_id": 1, "service": "detection", "variant": "fast", "state": "running", "delivery": "live", "window": 8,
        "objective": None, "pin": {}, "priority": 0,
        "placement": {"0": [10], "1": [20], "2": [10]}, "measured": {"fps": 10.0, "handlers": handlers},
    } | changes  # fmt: skip


def lists(*sessions: Json) -> dict[str, list[Json]]:
    """Two nodes up and one down; decode on the first, detection at half its profile's speed on the second."""
    variant = {
        "variant_name": "fast", "accuracy": 0.9,
        "handlers": [{"handler_id": i, "handler_type": t} for i, t in enumerate((6, 18, 17))],
        "links": [
            {"source_handler": 0, "target_handler": 1}, {"source_handler": 0, "target_handler": 2},
            {"source_handler": 1, "target_handler": 2, "target_input": 1},
        ],
        "results": [{"handler_id": 1}, {"handler_id": 2, "on_demand": True}],
    }  # fmt: skip
    return {
        "nodes": [node(10, "edge"), node(20, "server"), node(30, "gone", "down")],
        "handlers": [
            kind(6, "Decode", 2.0, ["Encoded"], "Image"), kind(18, "Detect", 20.0, ["Image"], "Boxes"),
            kind(17, "Draw", 1.0, ["Image", "Boxes"], "Image"),
        ],
        "services": [{"service_name": "detection", "variants": [variant]}],
        "sessions": list(sessions or (session(),)),
    }  # fmt: skip


def test_it_is_what_runs() -> None:
    """Nodes that are up, handlers that every frame passes, where they are, at the speed they were measured at."""
    made = live.scenario(lists(), within_ms=100)
    assert [m.name for m in made.nodes] == ["edge", "server"]
    (clients,), (service,) = made.sessions, made.services
    assert clients.placed == {0: [1], 1: [2]} and clients.fps == 10 and clients.objective.max_latency_ms == 100
    detect = service.variants[0].handlers[1]
    server = made.nodes[1]
    assert server.speed * server.speeds[detect] == pytest.approx(0.5)
    assert made.nodes[0].speed == pytest.approx(1.0)


def test_what_was_asked_for_holds() -> None:
    """Pins stay where they were put, bounds are the session's own unless others are asked for."""
    asked = session(objective={"max_latency_ms": 150, "min_fps": 5}, pin={"1": 20, "0": [10, 30]}, priority=2)
    (clients,) = live.scenario(lists(asked), within_ms=None).sessions
    assert clients.pinned == {0: [1], 1: [2]} and clients.priority == 2
    assert (clients.objective.max_latency_ms, clients.objective.min_fps) == (150, 5)
    (clients,) = live.scenario(lists(asked), within_ms=90).sessions
    assert (clients.objective.max_latency_ms, clients.objective.min_fps) == (90, 5)


def test_a_pinned_handler_stays_when_its_node_dies() -> None:
    """It has nowhere else to go, so its frames are missed; without the pin they are answered elsewhere."""
    free, pinned = (
        Run(live.dies(live.scenario(lists(session(pin=pin)), 200), "server"), "layered_dp", 1).run()
        for pin in ({}, {"1": 20})
    )
    assert free.repairs == 1 and free.miss_rate < 0.2
    assert pinned.repairs == 0 and pinned.miss_rate > 0.9


def test_it_behaves_as_measured() -> None:
    """2 ms of decoding, a hop, and 40 ms of detection."""
    made = live.scenario(lists(), within_ms=None)
    still = msgspec.structs.replace(made.control, rebalance=False)
    result = Run(msgspec.structs.replace(made, control=still), "layered_dp", 1).run()
    assert result.p50_ms == pytest.approx(2 + 0.25 + 9.2 + 40, rel=0.3)
    assert result.miss_rate == 0


def test_a_dying_node_costs_frames_and_the_session_goes_on() -> None:
    made = live.scenario(lists(), within_ms=200)
    result = Run(live.dies(made, "server"), "layered_dp", 1).run()
    assert result.repairs == 1 and 0 < result.miss_rate < 0.2


def test_more_traffic_than_it_can_take_is_missed_and_more_nodes_help() -> None:
    """Six sessions want 1.4 to 2.5 of 4 cores; four times that is too much for two nodes, less so for five."""
    made = live.scenario(lists(*(session(session_id=i) for i in range(6))), within_ms=300)
    made = msgspec.structs.replace(made, duration_s=90.0)
    more = live.traffic(made, 4)
    now, then = (Run(asked, "layered_dp", 1).run().miss_rate for asked in (made, more))
    assert then > now + 0.1
    assert Run(live.add(more, 3, "edge"), "layered_dp", 1).run().miss_rate < then - 0.1


def test_what_cannot_be_asked_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ScenarioError, match="0 sessions"):
        live.scenario(lists(session(state="stopped")), None)
    with pytest.raises(ScenarioError, match="edge, server"):
        live.dies(live.scenario(lists(), None), "moon")
    with pytest.raises(ScenarioError, match="no service"):
        live.scenario(lists(session(service="old")), None)
    assert main(["--from-live", "http://127.0.0.1:1"]) == 3
    assert "127.0.0.1:1" in capsys.readouterr().err
