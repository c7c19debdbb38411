"""Who comes in: promises of running sessions hold, unless the newcomer's priority is higher."""

from functools import partial

import pytest
from msgspec.structs import replace

from coordinator.admission import Admitted, Refused, admit
from coordinator.allocation import ALGORITHMS
from coordinator.allocation.base import (
    Decision,
    Measured,
    NodeView,
    Placement,
    Request,
    Snapshot,
    Unplaceable,
    Variant,
    work,
)
from coordinator.allocation.decide import decide
from coordinator.allocation.loads import Loads, Promise, cores
from tests.unit.test_allocation_algorithms import node, request, snapshot
from tests.unit.test_allocation_objectives import LIGHT, TINY
from wire.messages import Objective

DECIDE = partial(decide, ALGORITHMS["layered_dp"]())


def small(node_id: int, cpu_util: float = 0.0, **changes: object) -> NodeView:
    return node(node_id, cpu_util, cpus=1, **changes)


def asked(fps: float | None, *variants: Variant, **changes: object) -> Request:
    objective = Objective(min_fps=fps)
    return request(**({"variants": variants or (LIGHT,), "objective": objective, "rate": fps} | changes))


def promise(session_id: int = 3, fps: float | None = 6.0, nodes: tuple[int, ...] = (1,), **changes: object) -> Promise:
    """LIGHT takes 102 ms of a core per frame, so 6 frames/s take 0.612 cores."""
    placement = Placement(nodes={1: nodes[:1], 2: nodes}, entry_node=nodes[0])
    values = {"session_id": session_id, "variant": LIGHT, "placement": placement, "objective": Objective(min_fps=fps)}
    return Promise(**(values | changes))  # type: ignore[arg-type]


def enter(wish: Request, world: Snapshot, *running: Promise, priority: int = 0) -> Admitted:
    return admit(DECIDE, wish, world, running, priority)


# --- loads --------------------------------------------------------------------------------------------


def test_a_session_keeps_its_promised_rate_or_what_is_measured_when_that_is_more() -> None:
    world = snapshot(small(1, 50))
    assert cores(LIGHT, promise().placement, 6.0, world) == {1: pytest.approx(0.612)}
    idle = Loads(world, [promise(fps=6.0)])
    assert idle.utilisation()[0] == pytest.approx(0.5 + 0.612)
    measured = Loads(world, [Promise(session_id=1, variant=LIGHT, placement=promise().placement, fps=4.0)])
    assert measured.utilisation()[0] == pytest.approx(0.5), "its measured part is in the node's load already"
    assert measured.utilisation(without={1})[0] == pytest.approx(0.5 - 0.408)


def test_the_snapshot_under_other_loads_is_seen_by_blind_and_by_predicting_algorithms() -> None:
    world = Loads(snapshot(small(1), small(2)), [promise()]).under()
    assert world.nodes[1].cpu_util == pytest.approx(61.2)
    for name in ("least_loaded", "layered_dp"):
        decision = decide(ALGORITHMS[name](), request(variants=(LIGHT,)), world)
        assert decision.placement.used() == {2}


# --- admission ----------------------------------------------------------------------------------------


def test_without_a_known_rate_nothing_is_foreseen() -> None:
    assert enter(asked(None), snapshot(small(1)), promise()).displaced == ()


def test_a_newcomer_goes_where_promises_hold_even_if_it_is_slower_there() -> None:
    times = {(work(LIGHT.topology.handlers[2]), n): Measured(ms=100.0 + 20 * n) for n in (1, 2)}
    world = snapshot(small(1), small(2), times=times)
    assert enter(asked(6.0), world).decision.placement.used() == {1}
    assert enter(asked(6.0), world, promise()).decision.placement.used() == {2}


def test_a_newcomer_that_would_break_a_promise_is_refused_with_what_would_fit() -> None:
    with pytest.raises(Refused) as caught:
        enter(asked(6.0), snapshot(small(1), small(2, refuses="is down")), promise())
    (first, *_) = caught.value.breaks
    assert first.session_ids == (3,)
    assert "session 3 (priority 0): 9.8 frames/s now, 3.8 frames/s predicted (prior), below min_fps 6" in first.why
    (fit,) = caught.value.fits
    assert 2.6 < fit.max_fps <= 2.83  # what is left below 90 %: 8.8 - 6
    assert f"variant light at up to {fit.max_fps:g} frames/s on node 1" in caught.value.detail
    assert caught.value.reasons[2] == "is down"


def test_the_latency_of_a_running_session_is_a_promise_too() -> None:
    bound = promise(fps=None, objective=Objective(max_latency_ms=120))
    with pytest.raises(Refused, match=r"session 3 .*102 ms now, 263 ms predicted .*above max_latency_ms 120"):
        enter(asked(6.0), snapshot(small(1)), bound)
    assert enter(asked(0.5), snapshot(small(1)), bound).displaced == ()


def test_measured_times_wait_longer_too_when_a_newcomer_comes() -> None:
    times = {(work(LIGHT.topology.handlers[h]), 1): Measured(ms=ms) for h, ms in ((1, 2.0), (2, 100.0))}
    bound = promise(fps=None, objective=Objective(max_latency_ms=120))
    with pytest.raises(Refused, match="session 3"):
        enter(asked(6.0), snapshot(small(1), times=times), bound)


def test_the_requests_other_variants_are_tried_before_it_is_refused() -> None:
    admitted = enter(asked(6.0, LIGHT, TINY), snapshot(small(1)), promise())
    assert admitted.decision.variant.variant_name == "tiny"


def test_variants_that_were_not_asked_for_are_named_when_they_would_fit() -> None:
    with pytest.raises(Refused) as caught:
        admit(DECIDE, asked(6.0), snapshot(small(1)), [promise()], 0, others=(TINY,))
    assert [(f.variant, f.max_fps) for f in caught.value.fits][1] == ("tiny", 6.0)


def test_a_higher_priority_comes_in_and_says_whom_it_hurts() -> None:
    admitted = enter(asked(6.0), snapshot(small(1)), promise(), priority=1)
    assert {i for b in admitted.displaced for i in b.session_ids} == {3}
    with pytest.raises(Refused):
        enter(asked(6.0), snapshot(small(1)), promise(priority=1), priority=1)


def test_a_higher_priority_too_takes_the_place_where_nobody_is_hurt() -> None:
    times = {(work(LIGHT.topology.handlers[2]), n): Measured(ms=100.0 + 20 * n) for n in (1, 2)}
    world = snapshot(small(1), small(2), times=times)
    admitted = enter(asked(6.0), world, promise(), priority=5)
    assert (admitted.decision.placement.used(), admitted.displaced) == ({2}, ())


def test_a_node_that_known_rates_fill_is_refused_though_nobody_was_promised_anything() -> None:
    """The session there has no objective; it is measured to take 61 %."""
    there = Promise(session_id=4, variant=LIGHT, placement=promise().placement, fps=6.0)
    with pytest.raises(Refused, match=r"node 1 would be 110% busy instead of 61%, and session 4 \(priority 0\) run"):
        enter(asked(4.8), snapshot(small(1, 61.2), small(2, refuses="is down")), there)


def test_among_many_full_nodes_the_one_with_room_is_found() -> None:
    world = snapshot(*(small(n) for n in range(1, 13)))
    full = [promise(session_id=n, fps=9.5, nodes=(n,)) for n in range(1, 12)]
    asked_for: list[int] = []

    def in_order(wish: Request, seen: Snapshot) -> Decision:
        node_id = next(n for n, view in sorted(seen.nodes.items()) if view.refuses is None)
        asked_for.append(node_id)
        return DECIDE(replace(wish, pins={1: (node_id,), 2: (node_id,)}), seen)

    admitted = admit(in_order, request(variants=(LIGHT,), rate=4.0), world, full)
    assert admitted.decision.placement.used() == {12}
    assert asked_for == [1, 12], "the others are known to be full"


def test_what_is_broken_already_is_not_the_newcomers_fault() -> None:
    broken = promise(objective=Objective(max_latency_ms=50))
    assert enter(asked(1.0), snapshot(small(1)), broken).decision.placement.used() == {1}


def test_what_no_node_can_run_is_unplaceable_and_no_matter_of_admission() -> None:
    with pytest.raises(Unplaceable) as caught:
        enter(asked(6.0), snapshot(small(1, available=frozenset())), promise())
    assert not isinstance(caught.value, Refused)
