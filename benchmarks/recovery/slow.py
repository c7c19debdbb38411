"""The row about a node that becomes slow: the objective breaks, the handler moves, and does not move back and forth."""

import time
from collections.abc import Sequence

from benchmarks.common import Outcome, Row, Say, quantile
from benchmarks.recovery.rows import DETECT, place_of, request, session, warm
from benchmarks.recovery.traffic import Answer, photo, traffic
from benchmarks.recovery.world import World, wait_for
from wire.messages import Objective

FPS = 2.0
USUAL_FRAMES = 20  # looked at before anything is done
PICTURE = 320  # pixels wide
WORK = {"scale_factor": 1.1, "min_size": 40}  # the detector takes a time worth moving for
SHARE = 1.4  # of what 95 % of the frames take usually: a bound that a node at half its speed breaks
SETTLED_S = 15.0  # after the move: latency figures are of the last ten seconds
MOVED_S, MOVES = 10.0, 2
WATCH_S, QUICK_WATCH_S = 300.0, 60.0
PERIOD_S = 0.2  # of being stopped and going on


def slow(world: World, watch_s: float, say: Say) -> Outcome:
    """Stop the processes of the node that detects for half of the time, and watch what becomes of the session."""
    usual_ms = _usual(world)
    bound = usual_ms * SHARE
    say(f"usually {usual_ms:.0f} ms, bound {bound:.0f} ms")
    asked = request([1], world.node_ids[1:], WORK, objective=Objective(max_latency_ms=bound))
    with session(world, asked) as made, traffic(world.url, made.session_id, FPS, photo(PICTURE)) as seen:
        warm(seen, USUAL_FRAMES)
        victim, at = place_of(world, made.session_id), time.monotonic()
        with world.slowed(f"node-{victim}", PERIOD_S):
            moved = wait_for(lambda: place_of(world, made.session_id) != victim, "the handler to move",
                             lambda: _told(world, made.session_id), patience_s=60)  # fmt: skip
            say(f"moved after {moved - at:.1f} s")
            until = at + watch_s
            while time.monotonic() < until:
                time.sleep(1.0)
        after = seen.between(moved + SETTLED_S)
    events = world.api.list_of(f"/sessions/{made.session_id}/events", "events")
    moves = sum(e["event"] == "moved" for e in events)
    for e in events:
        say(f"{e['event']}: {e['detail'].get('why', '')}")
    latency = _p95(after)
    return Outcome(
        [
            Row("node at half its speed: handler moved after", moved - at, "s", at_most=MOVED_S),
            Row("95 % of the frames afterwards take, over the bound", latency / bound, "x", at_most=1.0,
                note=f"{latency:.0f} ms of {bound:.0f} ms allowed; {usual_ms:.0f} ms usual"),
            Row(f"moves in {watch_s:.0f} s", moves, "", at_most=MOVES),
            Row("frames lost", seen.lost, "", at_most=0, note=f"of {seen.sent}"),
        ],
        {"moved_s": moved - at, "moves": moves, "latency_ms": latency, "bound_ms": bound, "usual_ms": usual_ms,
         "watch_s": watch_s},
    )  # fmt: skip


def _usual(world: World) -> float:
    """Return what 95 % of the frames take while all is well, ms."""
    with (
        session(world, request([1], world.node_ids[1:], WORK)) as made,
        traffic(world.url, made.session_id, FPS, photo(PICTURE)) as seen,
    ):
        warm(seen, USUAL_FRAMES)
    return _p95(seen.answers)


def _p95(answers: Sequence[Answer]) -> float:
    return quantile((float(a.result.latency_ms or 0) for a in answers if a.node_of(DETECT) is not None), 0.95)


def _told(world: World, session_id: int) -> object:
    document = world.api.get(f"/sessions/{session_id}")
    return {k: document[k] for k in ("state", "placement", "predicted", "measured")}
