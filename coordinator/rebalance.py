"""Whether a running session should move to a better placement: hysteresis and the cost of moving. Pure.

A move costs the preparing of each handler that moves (models are loaded again), and it may prove wrong. So it must
bring a good share, pay for itself within the horizon, and come seldom: the pause doubles with each recent move.
What is broken is measured; what a move would bring is predicted, here and there by the same model: a measurement is
never compared with a prediction.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from coordinator.allocation.base import Predicted, TypeView
from coordinator.allocation.objective import missed
from wire.messages import HandlerSpec, NodeSession, Objective

PATIENCE_S = 3.0  # an objective must be broken for so long: one slow second is no reason
STEADY_S = 10.0  # where nothing is broken another place must have been better for so long
PAUSE_S = 120.0  # after a move, doubled for each more in the last MEMORY_S
MEMORY_S = 900.0
LEAST_GAIN = 0.2  # share of the latency, or of the frames/s, where the objective is broken
LEAST_GAIN_WELL = 0.3  # where nothing is
LEAST_IN_TIME = 0.02  # share of all frames, late here and in time there; late ones must be half as many, too
HORIZON_S = 300.0  # the placement is thought to last so long
PREPARE_MS = 2000.0  # of a handler that moves, where its profile does not say what loading takes
CROWDED = 0.5  # share of the window in flight: frames wait, so few frames/s are not the clients' doing


class Situation(Struct, frozen=True, kw_only=True):
    """A session as it runs. now: predicted where it is, with what is known now."""

    now: Predicted
    fault: str | None = None  # which bound is broken, as measured
    broken_s: float = 0.0  # for how long
    better_s: float = 0.0  # for how long another place has been better
    fps: float = 0.0  # measured
    moved_s_ago: tuple[float, ...] = ()  # its earlier moves for this reason


class Verdict(Struct, frozen=True, kw_only=True):
    """Whether to move, and why or why not. better: it would be worth it, were it not too early."""

    move: bool
    why: str
    better: bool = False


def measured_fault(objective: Objective, entry: NodeSession, window: int, dropped_lately: int = 0) -> str | None:
    """Return which bound is broken by what the session's entry measures, or None. Without frames nothing is."""
    p95, fps = entry.latency_ms.get("p95"), entry.fps or 0.0
    if fps <= 0 and not (entry.books and entry.books.in_flight):
        return None
    if objective.max_latency_ms is not None and p95 is not None and p95 > objective.max_latency_ms:
        return f"95 % of the frames take up to {p95:.0f} ms, more than max_latency_ms {objective.max_latency_ms:g}"
    in_flight = entry.books.in_flight if entry.books else 0
    waiting = dropped_lately > 0 or in_flight >= max(2, CROWDED * window)
    if objective.min_fps is not None and fps < objective.min_fps and waiting:
        return f"{fps:.1f} frames/s, fewer than min_fps {objective.min_fps:g}, while frames wait"
    return None


def loading_ms(moved: Iterable[HandlerSpec], types: Mapping[int, TypeView]) -> float:
    """Return what it takes until the handlers that move are ready elsewhere."""
    found = (types.get(h.handler_type) for h in moved)
    return sum((view.load_ms if view else None) or PREPARE_MS for view in found)


def judge(
    situation: Situation, then: Predicted, handlers_moved: int, objective: Objective, prepare_ms: float | None = None
) -> Verdict:
    """Return whether moving *handlers_moved* handlers to a placement predicted to be *then* is worth it. prepare_ms:
    what loading them takes there, where it is known.
    """
    if handlers_moved == 0:
        return Verdict(move=False, why="it is where it is best")
    pause = pause_s(situation.moved_s_ago)
    if pause > 0:
        return Verdict(move=False, why=f"it moved lately: {pause:.0f} s more before the next move")
    if situation.fault is not None:
        return _mend(situation, then, situation.fault, objective)
    return _gain(situation, then, PREPARE_MS * handlers_moved if prepare_ms is None else prepare_ms, objective)


def named(verdict: Verdict, here: str, there: str) -> Verdict:
    """Return *verdict* with the variants in its words, where they differ."""
    if here == there:
        return verdict
    return replace(verdict, why=f"{verdict.why}, as variant {there} instead of {here}")


def pause_s(moved_s_ago: tuple[float, ...]) -> float:
    """Return how long no move is allowed yet: the pause doubles with each move in memory."""
    recent = [s for s in moved_s_ago if s < MEMORY_S]
    return max(0.0, PAUSE_S * 2.0 ** (len(recent) - 1) - min(recent)) if recent else 0.0


def _mend(situation: Situation, then: Predicted, fault: str, objective: Objective) -> Verdict:
    words = f"{fault}, for {situation.broken_s:.0f} s; {_compared(situation.now, then)}"
    better = _faster(situation.now, then) or _wider(situation.now, then, objective) or _surer(situation.now, then)
    if not better:
        return Verdict(move=False, why=f"{words}: no better place is known")
    if situation.broken_s < PATIENCE_S:
        return Verdict(move=False, why=words, better=True)
    return Verdict(move=True, why=words, better=True)


def _gain(situation: Situation, then: Predicted, cost: float, objective: Objective) -> Verdict:
    words = _compared(situation.now, then)
    surer = _surer(situation.now, then)
    if missed(objective, then) is not None or not (surer or _faster(situation.now, then, LEAST_GAIN_WELL)):
        return Verdict(move=False, why=f"{words}: too little to move for")
    won = (situation.now.latency_ms - then.latency_ms) * situation.fps * HORIZON_S
    if won < cost and not surer:
        return Verdict(move=False, why=f"{words}: {won:.0f} ms won in {HORIZON_S:.0f} s, {cost:.0f} ms to prepare")
    if situation.better_s < STEADY_S:
        return Verdict(move=False, why=f"{words}, for {situation.better_s:.0f} s only", better=True)
    return Verdict(move=True, why=words, better=True)


def _faster(now: Predicted, then: Predicted, share: float = LEAST_GAIN) -> bool:
    """Return whether the mean is shorter by *share*, and not more frames late for it."""
    if now.late is not None and then.late is not None and then.late > now.late + LEAST_IN_TIME:
        return False
    return then.latency_ms <= now.latency_ms * (1 - share)


def _wider(now: Predicted, then: Predicted, objective: Objective) -> bool:
    if objective.min_fps is None or now.fps is None or then.fps is None:
        return False
    return now.fps < objective.min_fps and then.fps >= now.fps * (1 + LEAST_GAIN)


def _surer(now: Predicted, then: Predicted) -> bool:
    """Return whether many fewer frames are predicted to be late, where that is known: replicas bring this, even where
    the mean grows by their way.
    """
    if now.late is None or then.late is None:
        return False
    return then.late <= now.late / 2 and now.late - then.late >= LEAST_IN_TIME


def _compared(now: Predicted, then: Predicted) -> str:
    return f"predicted {_told(now)} here, {_told(then)} there"


def _told(of: Predicted) -> str:
    late = "" if of.late is None else f" ({of.late:.1%} of the frames late)"
    return f"{of.latency_ms:.0f} ms and {of.fps or 0:.1f} frames/s{late}"
