"""What a work usually takes, and that a node which has become slow stands out against it."""

import pytest

from coordinator.allocation.base import Measured, work
from coordinator.allocation.cost import model
from coordinator.allocation.queueing import core_stretch
from coordinator.usual import FALLS_S, FORGET_S, Usual, undisturbed
from tests.unit.test_allocation_algorithms import node, snapshot, variant
from tests.unit.test_coordinator_decisions import GRAPH, beat, session, status
from wire.messages import HandlerStatus, Load, NodeSession, Running

DETECT = variant().topology.handlers[2]  # 100 ms by its profile
KEY = (work(DETECT), 1)


def heard(usual: Usual, ms: float, begin: int, end: int) -> float:
    for second in range(begin, end):
        usual.hear({KEY: Measured(ms=ms)}, float(second))
    return usual.times()[KEY[0]].ms


def test_it_rises_slowly_and_falls_sooner() -> None:
    usual = Usual()
    assert heard(usual, 30.0, 0, 60) == pytest.approx(30)
    assert heard(usual, 60.0, 60, 70) < 31.5, "ten seconds of slowness are not usual"
    assert heard(usual, 20.0, 70, 70 + int(2 * FALLS_S)) < 22.5
    usual.hear({}, 200.0 + FORGET_S)
    assert usual.times() == {}


def test_the_wait_for_cores_that_others_keep_busy_is_no_part_of_it() -> None:
    handlers = [HandlerStatus(handler_id=2, state="running", service_ms=40.0, frames=7)]
    load = Load(cpu_util=60, mem_util=30)  # of 2 cores; its own part is 10 frames/s x 40 ms = 20 %
    held = NodeSession(session_id=5, epoch=3, state=Running.RUNNING, entry=True, handlers=handlers, fps=10.0)
    told = beat(2, load=load, sessions=[held])
    times = undisturbed(status(told), {5: session()})
    assert times[work(GRAPH.handlers[1]), 2].ms == pytest.approx(40 / (1 + core_stretch(0.4, 2.0)))
    assert undisturbed(status(told), {}) == {}


def test_a_slow_node_is_told_from_slow_work() -> None:
    """Node 1 takes 60 ms now for what takes 30: node 2, where it never ran, is expected to take 30."""
    times = {KEY: Measured(ms=60.0, frames=1000)}
    alone = model(snapshot(node(1), node(2), times=times)).handler(KEY[0]).ms
    known = model(snapshot(node(1), node(2), times=times, usual={KEY[0]: Measured(ms=30.0)})).handler(KEY[0]).ms
    assert alone[1] > alone[0], "one node alone says nothing about another"
    assert known[0] == pytest.approx(60, rel=0.05)
    assert known[1] == pytest.approx(30)
