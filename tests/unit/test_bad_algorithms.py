"""Algorithms that fail, hang or decide nonsense: refused by name, and nothing else suffers."""

import threading
import time

import pytest

from coordinator.allocation.base import Decision, Explanation, Placement, Predicted, Request, Snapshot, Unplaceable
from coordinator.allocation.decide import BadDecision, decide
from coordinator.timed import MOST_HANGING, Timed
from tests.unit.test_allocation_algorithms import node, request, snapshot, variant

HERE = {1: (1,), 2: (1,), 3: (1,), 4: (1,)}
NOTHING = Predicted(latency_ms=0, fps=None, accuracy=None, basis="prior")


class Says:
    """Answers with *answer*, or raises it."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def allocate(self, asked: Request, world: Snapshot, current: Placement | None) -> Decision:
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer  # type: ignore[return-value]


def placed(nodes: object, entry_node: object = 1, **changes: object) -> Decision:
    placement = Placement(nodes=nodes, entry_node=entry_node)  # type: ignore[arg-type]
    values = {"variant": variant(), "placement": placement, "predicted": NOTHING, "explanation": ()}
    return Decision(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (ZeroDivisionError("division by zero"), "failed: ZeroDivisionError"),
        (SystemExit(3), "failed: RuntimeError: it raised SystemExit: 3"),
        (None, "failed: TypeError: it returned NoneType"),
        ({"nodes": HERE}, "failed: TypeError: it returned dict"),
        (placed(None), "failed: ValidationError"),
        (placed(HERE | {2: "1"}), "failed: ValidationError"),
        (placed(HERE, entry_node=None), "failed: ValidationError"),
        (placed(HERE, explanation=(1, 2)), "failed: ValidationError"),
        (placed(HERE | {2: (9,)}), "decided what cannot be: handler 2 may not run on node 9"),
        (placed(HERE | {2: (2,)}), "decided what cannot be: handler 2 may not run on node 2"),
        (placed(HERE | {2: ()}), "decided what cannot be: handler 2 is placed on"),
        (placed(HERE | {2: (1, 1)}), "decided what cannot be: handler 2 is placed on"),
        (placed({1: (1,)}), "decided what cannot be: the placement is for handlers"),
        (placed(HERE | {7: (1,)}), "decided what cannot be: the placement is for handlers"),
        (placed(HERE, entry_node=9), "decided what cannot be: the entry node takes no sessions"),
    ],
)
def test_what_cannot_be_is_refused_by_the_algorithms_name(answer: object, why: str) -> None:
    world = snapshot(node(1), node(2, refuses="is down"))
    with pytest.raises(BadDecision, match=f"the algorithm packed {why}"):
        decide(Timed(Says(answer), 5.0), request(), world, name="packed")


def test_a_refusal_of_a_good_algorithm_is_its_own() -> None:
    with pytest.raises(Unplaceable, match=r"^no node can$") as caught:
        decide(Timed(Says(Unplaceable("no node can", {1: "full"})), 5.0), request(), snapshot(node(1)), name="packed")
    assert not isinstance(caught.value, BadDecision)


def test_an_explanation_of_the_algorithms_own_is_kept() -> None:
    own = (Explanation(handler_id=2, handler_type=9, name="Hog", nodes=(1,), why="the biggest"),)
    answer = placed(HERE, explanation=own)
    decision = decide(Timed(Says(answer), 5.0), request(explain=True), snapshot(node(1)), name="packed")
    assert decision.explanation[0].why.startswith("the biggest: 100.0 ms compute")


class Spins:
    """Never comes back; alive while a decision runs."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def allocate(self, *_: object) -> Decision:
        self.threads.append(threading.current_thread())
        while True:
            try:
                sum(range(100))
            except Exception:  # noqa: BLE001 - a plug-in that swallows everything
                continue


class Waits(Spins):
    """Hangs in C, where no exception reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()

    def allocate(self, *_: object) -> Decision:
        self.threads.append(threading.current_thread())
        self.over.wait(60)
        raise AssertionError


def test_an_algorithm_that_spins_is_refused_in_time_and_ended() -> None:
    spins = Spins()
    with pytest.raises(
        BadDecision, match=r"the algorithm mine failed: AlgorithmHangs: it gave no answer within 0\.1 s"
    ):
        decide(Timed(spins, 0.1), request(), snapshot(node(1)), name="mine")
    spins.threads[0].join(10)
    assert not spins.threads[0].is_alive()


def test_of_those_that_cannot_be_ended_only_a_few_are_left_hanging() -> None:
    waits = Waits()
    timed = Timed(waits, 0.05)
    for _ in range(MOST_HANGING):
        with pytest.raises(BadDecision, match="no answer within"):
            decide(timed, request(), snapshot(node(1)), name="mine")
    begun = time.monotonic()
    with pytest.raises(BadDecision, match="2 earlier decisions of it still hang"):
        decide(timed, request(), snapshot(node(1)), name="mine")
    assert len(waits.threads) == MOST_HANGING
    assert time.monotonic() - begun < 5
    waits.over.set()
    for thread in waits.threads:
        thread.join(10)
    with pytest.raises(BadDecision, match="AssertionError"):
        decide(timed, request(), snapshot(node(1)), name="mine")


def test_a_fast_algorithm_is_not_disturbed_by_the_limit() -> None:
    assert decide(Timed(Says(placed(HERE)), 5.0), request(), snapshot(node(1))).placement.nodes == HERE
