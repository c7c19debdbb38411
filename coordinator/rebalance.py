"""Whether a running session should move to a better placement: hysteresis and the cost of moving. Pure.

A move costs the preparing of each handler that moves (models are loaded again), and it may prove wrong. So it must
bring a good share, pay for itself within the horizon, and come seldom: the pause doubles with each recent move.
"""

from msgspec import Struct

from coordinator.allocation.base import Predicted
from coordinator.allocation.objective import missed
from wire.messages import Objective

PATIENCE_S = 3.0  # an objective must be broken for so long: one slow second is no reason
PAUSE_S = 100.0  # after a move, doubled for each more in the last MEMORY_S
MEMORY_S = 600.0
LEAST_GAIN = 0.2  # share of the latency, where nothing is broken
HORIZON_S = 300.0  # the placement is thought to last so long
PREPARE_MS = 2000.0  # of a handler that moves


class Situation(Struct, frozen=True, kw_only=True):
    """A session as it runs: its figures measured where there are any, else predicted with what is known now."""

    objective: Objective
    now: Predicted
    broken_s: float = 0.0  # for how long the objective has been missed
    moved_s_ago: tuple[float, ...] = ()  # its earlier moves for this reason


class Verdict(Struct, frozen=True, kw_only=True):
    """Whether to move, and why or why not."""

    move: bool
    why: str


def judge(situation: Situation, then: Predicted, handlers_moved: int) -> Verdict:
    """Return whether moving *handlers_moved* handlers to a placement predicted to be *then* is worth it."""
    if handlers_moved == 0:
        return Verdict(move=False, why="it is where it is best")
    pause = _pause_s(situation.moved_s_ago)
    fault = missed(situation.objective, situation.now)
    if pause > 0:
        return Verdict(move=False, why=f"moved lately: {pause:.0f} s more before the next move")
    if fault is not None:
        return _mend(situation, then, fault)
    return _gain(situation, then, handlers_moved)


def _mend(situation: Situation, then: Predicted, fault: str) -> Verdict:
    if situation.broken_s < PATIENCE_S:
        return Verdict(move=False, why=f"{fault}, for {situation.broken_s:.1f} s only")
    still = missed(situation.objective, then)
    if still is not None and then.latency_ms > situation.now.latency_ms * (1 - LEAST_GAIN):
        return Verdict(move=False, why=f"{fault}; no better elsewhere: {still}")
    return Verdict(move=True, why=f"{fault}; {then.latency_ms:.0f} ms predicted elsewhere")


def _gain(situation: Situation, then: Predicted, handlers_moved: int) -> Verdict:
    now_ms, then_ms = situation.now.latency_ms, then.latency_ms
    gain = now_ms - then_ms
    words = f"{now_ms:.0f} ms here, {then_ms:.0f} ms predicted elsewhere"
    if missed(situation.objective, then) is not None or gain < LEAST_GAIN * now_ms:
        return Verdict(move=False, why=f"{words}: too little to move for")
    won, cost = gain * (situation.now.fps or 0.0) * HORIZON_S, PREPARE_MS * handlers_moved
    if won < cost:
        return Verdict(move=False, why=f"{words}: {won:.0f} ms won in {HORIZON_S:.0f} s, {cost:.0f} ms to prepare")
    return Verdict(move=True, why=words)


def _pause_s(moved_s_ago: tuple[float, ...]) -> float:
    """Return how long no move is allowed yet."""
    recent = [s for s in moved_s_ago if s < MEMORY_S]
    return PAUSE_S * 2.0 ** (len(recent) - 1) - min(recent) if recent else 0.0
