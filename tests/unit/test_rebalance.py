"""When a running session moves: broken objectives and good gains, seldom, and never to and fro."""

import pytest

from coordinator.allocation.base import Predicted
from coordinator.rebalance import PATIENCE_S, PAUSE_S, Situation, judge
from wire.messages import Objective

BOUND = Objective(max_latency_ms=100)


def figures(latency_ms: float, fps: float = 10.0) -> Predicted:
    return Predicted(latency_ms=latency_ms, fps=fps, accuracy=None, basis="measured")


@pytest.mark.parametrize(
    ("situation", "then", "handlers", "move", "why"),
    [
        (Situation(objective=BOUND, now=figures(200), broken_s=PATIENCE_S), 80, 1, True, "above max_latency_ms 100"),
        (Situation(objective=BOUND, now=figures(200), broken_s=1.0), 80, 1, False, "for 1.0 s only"),
        (Situation(objective=BOUND, now=figures(200), broken_s=9), 190, 1, False, "no better elsewhere"),
        (Situation(objective=BOUND, now=figures(200), broken_s=9), 120, 1, True, "120 ms predicted elsewhere"),
        (Situation(objective=BOUND, now=figures(90)), 85, 1, False, "too little"),
        (Situation(objective=BOUND, now=figures(90)), 40, 1, True, "90 ms here, 40 ms predicted elsewhere"),
        (Situation(objective=BOUND, now=figures(90, fps=0.1)), 40, 3, False, "6000 ms to prepare"),
        (Situation(objective=BOUND, now=figures(200), broken_s=9), 20, 0, False, "best"),
    ],
)
def test_a_move_must_be_worth_it(situation: Situation, then: float, handlers: int, move: bool, why: str) -> None:
    verdict = judge(situation, figures(then), handlers)
    assert verdict.move is move
    assert why in verdict.why


def test_a_session_that_always_could_be_better_moves_twice_in_five_minutes_at_most() -> None:
    moved: list[float] = []
    for second in range(300):
        ago = tuple(second - at for at in moved)
        situation = Situation(objective=BOUND, now=figures(200), broken_s=9, moved_s_ago=ago)
        if judge(situation, figures(50), 1).move:
            moved.append(float(second))
    assert moved[0] == 0
    assert moved[1] - moved[0] == PAUSE_S
    assert len(moved) == 2
