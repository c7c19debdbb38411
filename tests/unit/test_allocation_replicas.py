"""Replicas where frames would be late: there, nowhere else, and no more than asked for by the tail."""

import msgspec
import pytest

from coordinator.allocation import ALGORITHMS
from coordinator.allocation.base import Decision, LinkView, NodeView, Request, Snapshot, TypeView, Variant
from coordinator.allocation.cost import evaluator
from coordinator.allocation.decide import decide
from coordinator.allocation.tail import Tail
from coordinator.elsewhere import soft
from tests.unit.test_allocation_algorithms import PORTS, node
from wire.graph import Topology
from wire.messages import Graph, HandlerSpec, Link, Minimize, Objective

FIRST, SLOW = 1, 2  # handlers
REPLICATED = Objective(max_latency_ms=250, min_fps=5)
TYPES = {
    6: TypeView(handler_type=6, name="first", service_ms=2.0, memory_mib=50, outputs=("Boxes",)),
    9: TypeView(handler_type=9, name="slow", service_ms=60.0, memory_mib=200, outputs=("Boxes",)),
}
CHAIN = Variant(
    variant_name="chain",
    accuracy=0.9,
    topology=Topology(
        Graph(
            handlers=[HandlerSpec(handler_id=FIRST, handler_type=6), HandlerSpec(handler_id=SLOW, handler_type=9)],
            links=[Link(source_handler=FIRST, target_handler=SLOW)],
        ),
        PORTS,
    ),
)


def world(*nodes: NodeView, **of_slow: object) -> Snapshot:
    """Return nodes without load; of_slow: what its handler type is else."""
    types = TYPES | {9: msgspec.structs.replace(TYPES[9], **of_slow)}
    return Snapshot(nodes={n.node_id: n for n in nodes or (node(1), node(2), node(3))}, types=types)


def asked(objective: Objective = REPLICATED, **changes: object) -> Request:
    return Request(
        service="s", variants=(CHAIN,), objective=objective, rate=objective.min_fps, **changes  # type: ignore[arg-type]
    )  # fmt: skip


def placed(wanted: Request, snapshot: Snapshot) -> Decision:
    return decide(ALGORITHMS["layered_dp"](), wanted, snapshot)


def test_a_handler_that_would_make_frames_late_is_replicated_and_says_so() -> None:
    decision = placed(asked(), world())
    nodes = decision.placement.nodes
    assert len(nodes[FIRST]) == 1
    assert 2 <= len(nodes[SLOW]) <= 3
    (why,) = [e.why for e in decision.explanation if e.handler_id == SLOW]
    assert f"{len(nodes[SLOW])} replicas" in why and "% of the frames later than 250 ms instead of" in why
    alone = placed(asked(replicas={SLOW: 1}), world())
    assert alone.placement.nodes[SLOW] == nodes[SLOW][:1]
    assert decision.predicted.late is not None and alone.predicted.late is not None
    assert decision.predicted.late < 0.6 * alone.predicted.late


@pytest.mark.parametrize(
    ("wanted", "of_slow"),
    [
        (asked(Objective(max_latency_ms=250)), {}),  # no rate is known
        (asked(Objective(min_fps=5)), {}),  # a frame is of use whenever it comes
        (asked(Objective(max_latency_ms=2500, min_fps=1)), {}),  # hardly a frame is late
        (asked(Objective(max_latency_ms=250, min_fps=5, minimize=Minimize.COST)), {}),
        (asked(pins={SLOW: (1,)}), {}),
        (asked(replicas={SLOW: 1}), {}),
        (asked(), {"stateful": True}),
        (asked(), {"memory_mib": 3000.0}),  # newcomers need some, too
    ],
)
def test_no_replicas_where_none_are_wanted_or_possible(wanted: Request, of_slow: dict[str, object]) -> None:
    small = [node(n, mem_total=8000) for n in (1, 2, 3)]
    assert len(placed(wanted, world(*small, **of_slow)).placement.nodes[SLOW]) == 1


def test_replicas_as_asked_for_stay_as_many() -> None:
    assert len(placed(asked(replicas={SLOW: 2}), world()).placement.nodes[SLOW]) == 2


def test_a_line_that_others_need_is_not_filled_for_a_replica() -> None:
    """60 KB/s come to the handler: too much of 100 KB/s, little of 100 MB/s."""
    for rate, count in ((1e5, 1), (1e8, 2)):
        lines = {(a, b): LinkView(latency_ms=0.1, bytes_per_s=rate) for a in (1, 2) for b in (1, 2) if a != b}
        snapshot = msgspec.structs.replace(
            world(
                node(1),
                node(2),
            ),
            links=lines,
        )
        types = dict(snapshot.types) | {6: msgspec.structs.replace(TYPES[6], output_bytes=(12_000,))}
        snapshot = msgspec.structs.replace(snapshot, types=types)
        assert len(placed(asked(), snapshot).placement.nodes[SLOW]) == count


def test_strong_nodes_farther_away_are_taken_where_near_ones_are_late_too_often() -> None:
    """The mean is shorter at the full node that is near, but its tail is not."""
    near, far = node(1, cpus=1, cpu_util=60, zone="edge"), node(2, cpus=16, zone="cloud")
    lines = {(a, b): LinkView(latency_ms=70.0) for a, b in ((1, 2), (2, 1))}
    snapshot = msgspec.structs.replace(world(near, far), links=lines)
    slow = placed(asked(Objective(min_fps=5), entry_node=1), snapshot)
    sure = placed(asked(Objective(max_latency_ms=400, min_fps=5), entry_node=1), snapshot)
    assert slow.placement.nodes == {FIRST: (1,), SLOW: (1,)}
    assert sure.placement.nodes[SLOW][0] == 2
    assert sure.predicted.latency_ms > slow.predicted.latency_ms


def late(rate: float, limit_ms: float, nodes: tuple[int, ...]) -> float:
    wanted = asked(Objective(max_latency_ms=limit_ms, min_fps=rate))
    return Tail(evaluator(CHAIN, wanted, world()), limit_ms).late({FIRST: (0,), SLOW: nodes}, 0)


def test_the_share_of_late_frames_grows_with_the_rate_and_falls_with_time_and_replicas() -> None:
    assert late(5, 250, (0,)) < late(8, 250, (0,)) < late(12, 250, (0,))
    assert late(5, 500, (0,)) < late(5, 250, (0,)) < late(5, 125, (0,))
    assert late(12, 250, (0, 1, 2)) < late(12, 250, (0, 1)) < late(12, 250, (0,))
    assert late(5, 1, (0,)) == pytest.approx(1)
    assert late(200, 250, (0, 1)) > 0.95  # twelve cores' work for two processes
    assert late(0.01, 5000, (0,)) == pytest.approx(0, abs=1e-6)


def test_a_session_that_only_comes_near_its_bounds_keeps_its_replicas() -> None:
    near = soft(asked())
    assert near.objective.max_latency_ms is None
    assert len(placed(near, world()).placement.nodes[SLOW]) > 1
