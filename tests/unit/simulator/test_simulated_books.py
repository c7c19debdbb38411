"""What comes in goes out, is dropped with a reason, or is in flight: under every fault and every delivery."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from simulator.held import State
from simulator.results import MACHINE, Result
from simulator.run import Run
from simulator.scenario import Scenario, as_json, load

SCENARIO = Path(__file__).resolve().parents[3] / "simulator" / "scenarios" / "uniform.json"


def scenario(**changes: Any) -> Scenario:
    """Return a short and small one: 4 nodes, 6 sessions."""
    whole = load(SCENARIO)
    clients = [msgspec.structs.replace(c, count=3, every_s=1.0) for c in whole.sessions]
    nodes = [msgspec.structs.replace(whole.nodes[0], count=4)]
    return msgspec.structs.replace(whole, duration_s=60.0, warmup_s=10.0, nodes=nodes, sessions=clients, **changes)


def parts(kind: str, **changes: Any) -> Any:
    """Return *changes* as a part of a scenario."""
    return getattr(msgspec.convert(as_json(scenario()) | {kind: changes.get("value")}, type=Scenario), kind)


def balanced(result: Result) -> bool:
    whole = all(s.frames_in == s.delivered + sum(s.dropped.values()) + s.in_flight for s in result.sessions)
    return whole and result.frames_in == result.delivered + sum(result.dropped.values()) + result.in_flight


@pytest.mark.parametrize("delivery", ["live", "lossless"])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_books_balance_when_nodes_are_lost_and_slow(delivery: str, seed: int) -> None:
    faults = parts("faults", value=[
        {"at_s": 20, "node": 1, "last_s": 15}, {"at_s": 25, "node": 2, "last_s": 1},
        {"at_s": 30, "node": 3, "slow": 0.2},
    ])  # fmt: skip
    asked = scenario(faults=faults)
    clients = [msgspec.structs.replace(c, delivery=delivery) for c in asked.sessions]
    result = Run(msgspec.structs.replace(asked, sessions=clients), "layered_dp", seed).run()
    assert balanced(result)
    assert result.repairs > 0
    assert all(s.state is State.RUNNING for s in result.sessions)


def test_a_lost_node_costs_seconds_not_the_session() -> None:
    """What is answered after the repair is as without the loss."""
    calm = Run(scenario(), "least_loaded", 3).run()
    lost = Run(scenario(faults=parts("faults", value=[{"at_s": 20, "node": 1}])), "least_loaded", 3).run()
    assert balanced(lost) and lost.repairs > 0
    assert calm.delivered - lost.delivered < 6 * calm.delivered / 50  # 3 s to notice, 1 s to see, 1 s to load


def test_frames_and_work_are_the_same_for_every_algorithm_and_run() -> None:
    """Common random numbers; a second run gives the same figures."""
    first, again, other = (Run(scenario(), name, 5).run() for name in ("least_loaded", "least_loaded", "random"))
    assert first.frames_in == other.frames_in

    def figures(result: Result) -> Any:
        return {k: v for k, v in msgspec.to_builtins(result).items() if k not in MACHINE}

    assert figures(first) == figures(again)
    assert figures(first) != figures(Run(scenario(), "least_loaded", 6).run())


def test_live_drops_the_frame_that_waited_and_lossless_has_it_wait() -> None:
    """At a hundredth of the speed hardly anything passes."""
    slow = [msgspec.structs.replace(scenario().nodes[0], speed=0.01, count=4)]
    control = parts("control", value={"admission": False})
    asked = scenario(control=control)
    asked = msgspec.structs.replace(asked, nodes=slow)
    live = Run(asked, "least_loaded", 1).run()
    clients = [msgspec.structs.replace(c, delivery="lossless") for c in asked.sessions]
    lossless = Run(msgspec.structs.replace(asked, sessions=clients), "least_loaded", 1).run()
    assert balanced(live) and balanced(lossless)
    assert live.dropped["late"] > 100 and "late" not in lossless.dropped
    assert lossless.in_flight > live.in_flight


def test_a_session_nobody_can_serve_is_refused_and_its_frames_count_as_missed() -> None:
    kinds = [msgspec.structs.replace(k, mem_mib=1e6) for k in scenario().kinds]
    result = Run(msgspec.structs.replace(scenario(), kinds=kinds), "layered_dp", 1).run()
    assert result.refused_sessions == 6 and result.miss_rate == 1 and balanced(result)
