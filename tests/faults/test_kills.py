"""Seeded plans in short: G1 to G4 hold whatever is killed, stopped, delayed and cut, and nothing is left behind."""

import os
import signal
from itertools import product

import pytest

from tests.faults import marks
from tests.faults.lab import laboratory
from tests.faults.plans import NODES, READ, Part, What, plan
from tests.faults.run import Traffic, run

FRAMES = 150


@pytest.mark.parametrize("seed", [1, 2])
def test_all_promises_hold_whatever_goes_wrong(seed: int) -> None:
    outcome = run(plan(seed), FRAMES)
    assert outcome.violations == [], plan(seed).document()
    assert outcome.frames >= FRAMES
    assert outcome.posts > outcome.frames, "nobody noticed anything: the plan shows nothing"


def test_nothing_is_left_of_nodes_whose_processes_are_dead_at_that_moment() -> None:
    with laboratory() as lab:
        traffic = Traffic(lab, 0, plan(1).works[0], seed=1)
        assert traffic.session.post(marks.picture(1)).status_code == 200
        assert lab.left(), "there is something to leave"
        node_id = traffic.work.pin[READ][0]
        pids = [lab.handler_pid(node_id, traffic.session.id, READ), *(lab.gateway_pid(n) for n in NODES)]
        for pid in pids:
            assert pid
            os.kill(pid, signal.SIGKILL)
        assert lab.end() == []


def test_a_seed_gives_the_same_plan_each_time() -> None:
    assert plan(7) == plan(7) != plan(8)


def test_each_plan_kills_and_stops_handlers_and_gateways_and_meddles_with_connections() -> None:
    for made in (plan(seed) for seed in range(1, 51)):
        for part, what in product((Part.HANDLER, Part.GATEWAY), (What.KILL, What.PAUSE)):
            assert made.has(part, what), made
        assert any(f.part in (Part.LINK, Part.DOOR) for f in made.faults)
        assert not any(f.part in (Part.NODE, Part.COORDINATOR) for f in made.faults)
        for work in made.works:
            assert len({node for nodes in work.pin.values() for node in nodes}) == 2, "both nodes have a part in it"
    assert any(f.part is Part.NODE for f in plan(1, nodes_die=True).faults)
