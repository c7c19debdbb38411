"""The coordinator's pure parts: session states, plans for nodes, snapshots, repairs, and the registry's judgement."""

import time
from typing import Any

import pytest

from coordinator import planner, repair, snapshot
from coordinator.allocation.base import Measured, Request, Variant, work
from coordinator.held import Held
from coordinator.records import Cordon, NodeAddress, NodeRecord, Planned, Prediction, SessionRecord, replace
from coordinator.registry import NodeState, NotRegistered, Registry
from coordinator.requests import Reallocation
from coordinator.sessions import TRANSITIONS, Event, InvalidTransition, State, transition
from coordinator.snapshot import NodeStatus, Sampled
from wire.graph import Topology
from wire.messages import (
    Graph,
    HandlerAvailability,
    HandlerSpec,
    HandlerStatus,
    Hardware,
    Heartbeat,
    Link,
    Load,
    NodeSession,
    Running,
    SessionRequest,
)

PORTS = {6: (1, 1), 9: (1, 1)}
GRAPH = Graph(
    handlers=[HandlerSpec(handler_id=1, handler_type=6), HandlerSpec(handler_id=2, handler_type=9)],
    links=[Link(source_handler=1, target_handler=2)],
)


def planned(placement: dict[int, list[int]], entry_node: int = 1) -> Planned:
    used = {n for nodes in placement.values() for n in nodes} | {entry_node}
    return Planned(
        graph=GRAPH,
        results=Topology(GRAPH, PORTS).exits,
        entry_handler=1,
        entry_node=entry_node,
        placement=placement,
        nodes={n: NodeAddress(control_url=f"c{n}", data_url=f"http://d{n}", boot_id="a") for n in sorted(used)},
        algorithm="static",
        predicted=Prediction(latency_ms=1, fps=None, accuracy=None, basis="prior"),
        explanation=[],
    )


def session(placement: dict[int, list[int]] | None = None, **changes: Any) -> SessionRecord:
    values: dict[str, Any] = {
        "session_id": 5,
        "session_key": "k",
        "service": "s",
        "variant": "v",
        "state": State.RUNNING,
        "epoch": 3,
        "accept_from": 2,
        "request": SessionRequest(service="s", window=4),
        "plan": planned(placement or {1: [1], 2: [2, 3]}),
        "created": 1.0,
        "updated": 1.0,
    }
    return SessionRecord(**(values | changes))


def beat(node_id: int, boot_id: str = "a", **changes: Any) -> Heartbeat:
    values: dict[str, Any] = {
        "node_id": node_id,
        "node_name": f"n{node_id}",
        "boot_id": boot_id,
        "control_url": f"c{node_id}",
        "data_url": f"http://d{node_id}",
        "hardware": Hardware(cpus=2, mem_total=1000),
        "load": Load(cpu_util=20, mem_util=30),
        "timestamp": 1.0,
    }
    return Heartbeat(**(values | changes))


def report(epoch: int = 3, **changes: Any) -> NodeSession:
    return NodeSession(session_id=5, epoch=epoch, state=Running.RUNNING, entry=False, **changes)


# --- states -------------------------------------------------------------------------------------------


def test_the_life_of_a_session() -> None:
    state = State.INITIALIZED
    for event in (Event.START, Event.LOSE, Event.RECOVER, Event.STOP, Event.DELETE):
        state = transition(state, event)
    assert state is State.DELETED


def test_what_is_not_in_the_table_is_refused_by_name() -> None:
    for state in State:
        for event in Event:
            if (state, event) not in TRANSITIONS:
                with pytest.raises(InvalidTransition, match=f"{event} while {state}"):
                    transition(state, event)
    refused = {(State.RUNNING, Event.START), (State.STOPPED, Event.STOP), (State.STOPPED, Event.START)}
    assert refused.isdisjoint(TRANSITIONS)


def test_every_state_but_the_first_can_be_reached_and_every_state_deleted() -> None:
    assert set(TRANSITIONS.values()) | {State.INITIALIZED} == set(State)
    assert all(TRANSITIONS[state, Event.DELETE] is State.DELETED for state in State)


# --- plans --------------------------------------------------------------------------------------------


def test_each_node_is_told_its_handlers_and_everybodys_place() -> None:
    plans = planner.node_plans(session(plan=planned({1: [1], 2: [2, 3]}, entry_node=4)))
    assert {n: p.local for n, p in plans.items()} == {1: [1], 2: [2], 3: [2], 4: []}
    told = plans[1]
    assert [(r.node_id, r.url) for r in told.routes[2]] == [(2, "http://d2"), (3, "http://d3")]
    assert (told.epoch, told.accept_from, told.window) == (3, 2, 4)
    assert (told.entry.node_id, told.entry.url, told.entry.key, told.entry.handler_id) == (4, "http://d4", "k", 1)
    assert [(r.handler_id, r.output) for r in told.results] == [(2, 0)]


@pytest.mark.parametrize(("epoch", "sent"), [(3, False), (2, True), (None, True)])
def test_a_heartbeat_is_answered_with_the_plan_only_where_the_epoch_differs(epoch: int | None, sent: bool) -> None:
    answer = planner.wanted(session(state=State.DEGRADED), 1, None if epoch is None else report(epoch))
    assert (answer.state, answer.plan is not None) == (Running.RUNNING, sent)


# --- snapshots ----------------------------------------------------------------------------------------


def status(*beats: Heartbeat) -> dict[int, NodeStatus]:
    return {b.node_id: NodeStatus(heartbeat=b) for b in beats}


@pytest.mark.parametrize(("age", "cpu_util"), [(1.0, 70), (11.0, 20)])
def test_fresh_samples_of_the_database_replace_the_heartbeats_load(age: float, cpu_util: float) -> None:
    samples = {1: Sampled(timestamp=100.0, cpu_util=70, mem_util=80)}
    view = snapshot.build(status(beat(1)), {}, [], samples, 100.0 + age).nodes[1]
    assert view.cpu_util == cpu_util


def test_types_and_service_times_come_from_the_heartbeat() -> None:
    types = [
        HandlerAvailability(handler_type=6, name="Decode", available=True),
        HandlerAvailability(handler_type=9, name="Hog", available=False, reason="no dlib"),
    ]
    handlers = [HandlerStatus(handler_id=2, state="running", service_ms=40.0, frames=7)]
    heard = beat(2, cost_per_hour=0.25, handlers=types, sessions=[report(handlers=handlers)])
    world = snapshot.build(status(heard), {}, [session()], {}, 0.0)
    assert (world.nodes[2].available, world.nodes[2].unavailable) == (frozenset({6}), {9: "no dlib"})
    assert world.times == {(work(GRAPH.handlers[1]), 2): Measured(ms=40.0, frames=7)}
    assert world.nodes[2].cost_per_hour == 0.25
    assert world.placements[5].nodes == {1: (1,), 2: (2, 3)}


# --- repairs ------------------------------------------------------------------------------------------


def asked(**changes: Any) -> Request:
    variants = (Variant(variant_name="v", accuracy=None, topology=Topology(GRAPH, PORTS)),)
    return Request(service="s", variants=variants, **changes)


def test_a_node_is_lost_when_silent_or_started_anew() -> None:
    plan = planned({1: [1], 2: [2, 3]})
    assert repair.lost_nodes(plan, {1: beat(1), 2: beat(2, "b")}) == {2: "was restarted", 3: "is down"}


def test_what_runs_stays_and_a_replica_left_goes_on_alone() -> None:
    again = repair.without(asked(), planned({1: [1], 2: [2, 3]}), [3], [], [1, 2, 3])
    assert (again.pins, again.replicas, again.entry_node) == ({1: (1,), 2: (2,)}, {1: 1, 2: 1}, 1)


def test_the_callers_pins_hold_for_what_is_placed_anew() -> None:
    again = repair.without(asked(pins={2: (2,)}), planned({1: [1], 2: [2]}), [2], [], [1, 2])
    assert (again.pins[2], again.replicas[2]) == ((2,), 1)


def test_a_handler_that_failed_goes_to_any_other_node() -> None:
    again = repair.without(asked(), planned({1: [1], 2: [2]}), [], [(2, 2)], [1, 2, 3])
    assert again.pins == {1: (1,), 2: (1, 3)}
    assert again.count(2) == 1


def test_a_lost_entry_is_chosen_anew() -> None:
    again = repair.without(asked(entry_node=1), planned({1: [1], 2: [2]}), [1], [], [1, 2])
    assert again.entry_node is None
    assert repair.surviving(planned({1: [1], 2: [2]}), [1], []).nodes == {1: (), 2: (2,)}


def test_of_another_variant_only_what_is_the_same_there_stays() -> None:
    others = [HandlerSpec(handler_id=2, handler_type=6), HandlerSpec(handler_id=2, handler_type=9, params={"x": 1})]
    own = asked().variants
    here = snapshot.placement(session())
    assert repair.same_there(session(), here, own) == here
    for other in others:
        graph = replace(GRAPH, handlers=[GRAPH.handlers[0], other])
        variant = Variant(variant_name="w", accuracy=None, topology=Topology(graph, PORTS))
        same = repair.same_there(session(), here, (*own, variant))
        assert (same.nodes, same.entry_node) == ({1: (1,)}, 1)


def test_handlers_given_up_count_at_the_current_epoch_only() -> None:
    failed = [HandlerStatus(handler_id=2, state="failed", reason="killed 5 times")]
    assert repair.given_up(session(), {2: beat(2, sessions=[report(3, handlers=failed)])}) == {(2, 2): "killed 5 times"}
    assert repair.given_up(session(), {2: beat(2, sessions=[report(2, handlers=failed)])}) == {}


def test_moves_name_only_what_differs() -> None:
    moved = repair.moves(planned({1: [1], 2: [2, 3]}), planned({1: [2], 2: [3, 2]}, entry_node=2))
    assert moved == [{"handler_id": 1, "from": [1], "to": [2]}, {"entry": True, "from": [1], "to": [2]}]


def test_a_reallocation_changes_what_it_names_and_no_more() -> None:
    before = SessionRequest(service="s", pin={1: 1, 2: [2, 3]}, replicas={2: 2}, window=7)
    after = Reallocation(pin={2: 4}, algorithm="static").over(before)
    assert (after.pin, after.replicas, after.algorithm, after.window) == ({1: 1, 2: 4}, {}, "static", 7)


# --- nodes --------------------------------------------------------------------------------------------


def registry(**changes: Any) -> Registry:
    return Registry([1], **({"timeout": 3.0, "auto_register": True} | changes))


def test_a_silent_node_is_down_and_up_again_when_heard() -> None:
    nodes = registry()
    nodes.heard(beat(1), 10.0, 1000.0)
    assert nodes.judge(12.9) == []
    assert nodes.judge(13.1) == [1]
    assert (nodes.state(1), nodes.judge(14.0), nodes.status()[1].refuses) == (NodeState.DOWN, [], "is down")
    nodes.heard(beat(1), 15.0, 1005.0)
    assert nodes.state(1) is NodeState.UP


def test_a_coordinator_that_stood_still_judges_nobody_before_a_whole_time_out() -> None:
    nodes = registry()
    nodes.heard(beat(1), 10.0, 1000.0)
    nodes.heard(beat(2), 10.0, 1000.0)
    nodes.judge(10.5)
    nodes.forgive(60.0)
    assert nodes.judge(60.1) == []
    nodes.heard(beat(1), 61.0, 1051.0)
    assert nodes.judge(63.1) == [2]


def test_a_leaving_node_takes_nothing_at_once() -> None:
    nodes = registry()
    nodes.heard(beat(1, leaving=True), 10.0, 1000.0)
    assert (nodes.state(1), nodes.status()[1].refuses) == (NodeState.DOWN, "is shutting down")


def test_only_nodes_of_files_are_taken_without_auto_register() -> None:
    nodes = registry(auto_register=False)
    nodes.heard(beat(1), 1.0, 1.0)
    with pytest.raises(NotRegistered, match="node 2"):
        nodes.heard(beat(2), 1.0, 1.0)


def test_cordons_outlive_heartbeats_and_what_others_heard_counts() -> None:
    nodes = registry()
    nodes.heard(beat(1), 1.0, 100.0)
    nodes.set_cordon(1, Cordon.CORDONED)
    nodes.heard(beat(1), 2.0, 101.0)
    assert nodes.state(1) is NodeState.CORDONED
    later = NodeRecord(node_id=1, heartbeat=beat(1, "b"), last_seen=110.0, cordoned=Cordon.OPEN)
    nodes.merge([later], 9.0)
    assert (nodes.alive()[1].boot_id, nodes.state(1)) == ("b", NodeState.UP)
    nodes.merge([replace(later, last_seen=50.0, heartbeat=beat(1, "c"))], 9.0)
    assert nodes.alive()[1].boot_id == "b"


def test_nodes_that_others_tell_of_are_judged_by_the_time_of_the_last_word() -> None:
    """The database is away for 14 s: neither of two coordinators hears what the other one hears."""
    nodes = registry()
    told = NodeRecord(node_id=1, heartbeat=beat(1, "a"), last_seen=100.0, cordoned=Cordon.OPEN)
    nodes.merge([told], 0.0)
    nodes.heard(beat(2, "b"), 0.0, 100.0)
    assert nodes.judge(13.9) == [2]
    nodes.merge([told], 14.0)
    assert nodes.judge(14.1) == [], "the other one's word is on its way"
    nodes.merge([told], 15.5)
    assert nodes.judge(15.6) == []
    nodes.merge([told], 17.1)
    assert nodes.judge(17.2) == [1]


# --- sessions in memory -------------------------------------------------------------------------------


def test_what_was_put_after_the_reading_is_not_undone_by_it() -> None:
    held, read = Held(), time.monotonic()
    held.put(session(epoch=9))
    held.merge([session()], read)
    assert [s.epoch for s in held.all()] == [9]
    held.merge([], time.monotonic() + 2)
    assert held.all() == []
    read = time.monotonic()
    held.put(session(state=State.DELETED))
    assert held.get(5) is None
    held.merge([session()], read)
    assert held.get(5) is None, "it was deleted after the reading"
    held.merge([session()], time.monotonic() + 2)
    assert [s.epoch for s in held.all()] == [3]


@pytest.mark.parametrize("ahead_s", [-5.0, 5.0])
def test_what_another_coordinator_wrote_counts_whatever_its_clock_says(ahead_s: float) -> None:
    held, now = Held(), time.time()
    held.put(session(updated=now + ahead_s, epoch=1))
    held.merge([session(updated=now, epoch=2)], time.monotonic() + 1)
    assert [s.epoch for s in held.all()] == [2]
