"""Which variant is placed next, by the bounds that an algorithm tells."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

import pytest

from benchmarks.allocation import VARIANTS, variant, world
from coordinator.allocation import ALGORITHMS
from coordinator.allocation.base import Decision, Placement, Request, Snapshot, Unplaceable
from coordinator.allocation.decide import decide
from coordinator.allocation.race import Bounding, Bounds, Race
from coordinator.timed import Timed
from wire.messages import Maximize, Minimize, Objective

VARIANTS_ = tuple(variant(n, join=False) for n in range(3))
WORLD = world(random.Random(1), 5, list(VARIANTS_))


@dataclass
class Tells:
    """Tells bounds. least, closer, had: variant -> ms; one without *least* cannot be placed."""

    least: Mapping[str, float]
    closer: Mapping[str, float] = field(default_factory=dict)
    had: Mapping[str, float] = field(default_factory=dict)
    asked: list[tuple[str, float]] = field(default_factory=list)  # for a closer bound, below what

    def allocate(self, request: Request, snapshot: Snapshot, current: Placement | None) -> Decision:
        raise AssertionError("the race only asks for bounds")

    def latency_bounds(
        self, request: Request, snapshot: Snapshot, current: Placement | None, below: float | None = None
    ) -> Bounds:
        name = request.variants[0].variant_name
        if name not in self.least:
            raise Unplaceable("nowhere", {})
        if below is None:
            return Bounds(self.least[name], inf)
        self.asked.append((name, below))
        return Bounds(self.closer.get(name, self.least[name]), self.had.get(name, inf))


def race(algorithm: Tells, *, objective: Objective | None = None, explain: bool = False) -> Race:
    objective = objective or Objective(minimize=Minimize.LATENCY)
    asked = [Request(service="s", variants=(v,), objective=objective, explain=explain) for v in VARIANTS_]
    return Race(algorithm, asked, WORLD, None)


def name(request: Request | None) -> str | None:
    return request.variants[0].variant_name if request else None


def test_the_one_with_the_lowest_bound_comes_first_and_what_cannot_undercut_it_not_at_all() -> None:
    running = race(Tells({"v0": 30, "v1": 10, "v2": 20}))
    assert name(running.next()) == "v1"
    assert name(running.next(soonest=25)) == "v2"
    assert running.next(soonest=25) is None
    assert running.slower == {"v0": 30}


def test_a_bound_is_made_closer_before_its_variant_is_placed_and_may_change_the_order() -> None:
    tells = Tells({"v0": 12, "v1": 10, "v2": 90}, closer={"v1": 40})
    running = race(tells)
    assert name(running.next()) == "v0"
    assert tells.asked == [("v1", inf), ("v0", inf)]
    assert running.next(soonest=35) is None
    assert running.slower == {"v1": 40, "v2": 90}


def test_what_one_variant_is_known_to_have_leaves_others_out_but_never_itself() -> None:
    running = race(Tells({"v0": 10, "v1": 20, "v2": 16}, closer={"v0": 15.000000001, "v2": 16}, had={"v0": 15}))
    assert name(running.next()) == "v0"
    assert running.next(soonest=15) is None
    assert set(running.slower) == {"v1", "v2"}


def test_what_cannot_be_placed_is_asked_first_so_that_it_is_told_why() -> None:
    running = race(Tells({"v0": 10, "v2": 20}))
    assert [name(running.next()), name(running.next(5)), running.next(5)] == ["v1", None, None]


@pytest.mark.parametrize(
    ("objective", "explain"), [(Objective(), False), (Objective(maximize=Maximize.ACCURACY), False), (None, True)]
)
def test_they_come_as_given_where_another_wish_decides_or_somebody_reads_of_all(
    objective: Objective | None, explain: bool
) -> None:
    running = race(Tells({"v0": 30, "v1": 10, "v2": 20}), objective=objective, explain=explain)
    assert [name(running.next(5)) for _ in range(4)] == ["v0", "v1", "v2", None]


def test_the_time_limit_keeps_the_bounds_of_our_own_algorithms_only() -> None:
    ours, anybodys = Timed(ALGORITHMS["layered_dp"](), 5.0, ours=True), Timed(ALGORITHMS["layered_dp"](), 5.0)
    assert isinstance(ours, Bounding)
    assert not isinstance(anybodys, Bounding)
    assert not isinstance(Timed(ALGORITHMS["random"](), 5.0, ours=True), Bounding)


def test_with_bounds_fewer_variants_are_placed_and_the_same_one_is_taken() -> None:
    variants = tuple(variant(n, join=True) for n in range(VARIANTS))
    request = Request(service="s", variants=variants, rate=5.0, objective=Objective(minimize=Minimize.LATENCY))
    placed: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(8):
        first, second = (
            decide(Timed(ALGORITHMS["layered_dp"](), 5.0, placed[ours].append, ours=ours), request, snapshot)
            for ours in (True, False)
            for snapshot in [world(random.Random(seed), 30, list(variants))]
        )
        assert first.predicted == second.predicted
        assert first.placement == second.placement
    assert len(placed[False]) == 8 * VARIANTS
    assert len(placed[True]) < len(placed[False]) / 2
