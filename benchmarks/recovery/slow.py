"""The row about a node that becomes slow: the objective breaks, the handler moves, and does not move back and forth."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from benchmarks.common import Outcome, Row, Say, quantile
from benchmarks.recovery.rows import DETECT, Times, place_of, request, session, warm
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
WATCH_S, SHORT_WATCH_S = 300.0, 45.0  # for moves back and forth: in the first run, in the others
PERIOD_S = 0.2  # of being stopped and going on


def slow(worlds: Callable[[], AbstractContextManager[World]], runs: int, watch_s: float, say: Say) -> Outcome:
    """Stop the processes of the node that detects for half of the time, and watch what becomes of the session.

    Each run has daemons of its own: what is known of a node that was slow before would be in the way.
    """
    found = []
    for run in range(runs):
        with worlds() as made:
            found.append(_once(made, SHORT_WATCH_S if run else watch_s, say))
    times = Times(found)
    moves = max(found, key=lambda r: r["moves"])
    return Outcome(
        [
            times.row("node at half its speed: handler moved after", "moved_s", MOVED_S),
            times.row("95 % of the frames afterwards take, over the bound", "over_bound", 1.0, "x"),
            Row("moves in a run", moves["moves"], "", at_most=MOVES,
                note="watched for " + ", ".join(f"{r['watch_s']:.0f}" for r in found) + " s"),
            Row("frames lost", sum(r["lost"] for r in found), "", at_most=0,
                note=f"of {sum(r['sent'] for r in found):.0f}"),
        ],
        {"runs": found},
    )  # fmt: skip


def _once(world: World, watch_s: float, say: Say) -> dict[str, float]:
    usual_ms = _usual(world)
    bound = usual_ms * SHARE
    asked = request([1], world.node_ids[1:], WORK, objective=Objective(max_latency_ms=bound))
    with session(world, asked) as made, traffic(world.url, made.session_id, FPS, photo(PICTURE)) as seen:
        warm(seen, USUAL_FRAMES)
        victim, at = place_of(world, made.session_id), time.monotonic()
        with world.slowed(f"node-{victim}", PERIOD_S):
            moved = wait_for(lambda: place_of(world, made.session_id) != victim, "the handler to move",
                             lambda: _told(world, made.session_id), patience_s=60)  # fmt: skip
            say(f"usually {usual_ms:.0f} ms, bound {bound:.0f} ms; moved after {moved - at:.1f} s")
            time.sleep(max(0.0, at + watch_s - time.monotonic()))
        after = seen.between(moved + SETTLED_S)
    events = world.api.list_of(f"/sessions/{made.session_id}/events", "events")
    for e in events:
        say(f"{e['event']} {e['detail'].get('why', '')}")
    latency = _p95(after)
    moves = sum(e["event"] == "moved" for e in events)
    return {"moved_s": moved - at, "over_bound": latency / bound, "latency_ms": latency, "bound_ms": bound,
            "usual_ms": usual_ms, "moves": moves, "watch_s": watch_s, "sent": seen.sent, "lost": seen.lost}  # fmt: skip


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
