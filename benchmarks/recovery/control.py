"""The rows about coordinators: one that comes back, and one that takes over."""

import time
from functools import partial

from benchmarks.common import Outcome, Row, Say
from benchmarks.recovery.rows import (
    CONVERGED_S,
    FIRST_RESULT_S,
    FPS,
    LATE_S,
    LEADS_S,
    Times,
    flowing,
    place_of,
    request,
    session,
    state_of,
    warm,
)
from benchmarks.recovery.traffic import photo, traffic
from benchmarks.recovery.world import World, wait_for
from client.coordinator import Coordinator
from client.errors import ClientError

AWAY_S = 2.0  # how long the coordinator is away


def restart(world: World, runs: int, say: Say) -> Outcome:
    """Kill the coordinator under traffic and start it again: frames go on, and it knows all again."""
    found = []
    with (
        session(world, request([1], world.node_ids[1:])) as made,
        traffic(world.url, made.session_id, FPS, photo()) as seen,
    ):
        for _ in range(runs):
            calm = time.monotonic()
            warm(seen, len(seen.answers))
            flowing(world, seen)
            at = world.kill("coordinator-1")
            time.sleep(AWAY_S)
            epochs = {a.result.epoch for a in seen.between(at)}
            world.start("coordinator-1")
            ready, answered = time.monotonic(), len(seen.answers)
            wait_for(partial(_knows, world, made.session_id, answered), "all to be known again")
            converged = time.monotonic()
            warm(seen, len(seen.answers))
            found.append({"late_s": seen.worst_delay_s(at), "converged_s": converged - ready})
            found[-1]["calm_s"] = seen.worst_delay_s(calm, at)
            epochs |= {a.result.epoch for a in seen.between(at)}
            found[-1]["epochs"] = float(len(epochs))
            say(f"known again {converged - ready:.2f} s after it was ready, worst delay {found[-1]['late_s']:.2f} s")
    times = Times(found)
    return Outcome(
        [
            Row("coordinator killed and restarted: frames lost", seen.lost, "", at_most=0, note=f"of {seen.sent}"),
            times.row("coordinator killed and restarted: worst delay of a frame", "late_s", LATE_S),
            times.calm("coordinator"),
            times.row("coordinator killed and restarted: placements that processed frames", "epochs", 1, ""),
            times.row("coordinator ready again: nodes up, session running, its books fresh after", "converged_s",
                      CONVERGED_S),
        ],
        {"runs": found, "sent": seen.sent, "lost": seen.lost},
    )  # fmt: skip


def _knows(world: World, session_id: int, frames: int) -> bool:
    """Return True when all nodes are up again and the session's accounts are of after the restart."""
    if world.up() != set(world.node_ids):
        return False
    measured = world.api.session(session_id).document["measured"]
    return bool(measured["books"]) and measured["books"]["frames_in"] >= frames


def leader(world: World, runs: int, say: Say) -> Outcome:
    """Two coordinators on one MariaDB: kill the one that leads; the other leads, and repairs what is lost then."""
    found = []
    with (
        session(world, request([1], world.node_ids[1:])) as made,
        traffic(_other(world, None), made.session_id, FPS, photo()) as seen,
    ):
        for _ in range(runs):
            flowing(world, seen)
            first = wait_leader(world)
            at = world.kill(first)
            second = _name(world, _other(world, first))
            leads = wait_for(lambda: _leads(world, second), f"{second} to lead")  # noqa: B023
            found.append({"leads_s": leads - at})
            victim = place_of(world, made.session_id)
            dead = world.kill(f"node-{victim}")
            wait_for(
                lambda: any(a.at > dead and a.node_of(1) not in (None, victim) for a in list(seen.answers)[-50:]),  # noqa: B023
                "a result from another node",
            )
            found[-1]["first_s"] = time.monotonic() - dead
            say(f"the other leads after {leads - at:.2f} s; a node lost then: {found[-1]['first_s']:.2f} s")
            world.start(f"node-{victim}")
            world.start(first)
            world.wait_up()
            wait_for(lambda: state_of(world, made.session_id) == "running", "the session to recover")
    times = Times(found)
    return Outcome(
        [
            times.row("two coordinators, the leader killed: the other leads after", "leads_s", LEADS_S),
            times.row("a node killed then: first result from the new place after", "first_s", FIRST_RESULT_S),
            Row("two coordinators: frames lost", seen.lost, "", at_most=0, note=f"of {seen.sent}"),
        ],
        {"runs": found, "sent": seen.sent, "lost": seen.lost},
    )


def wait_leader(world: World) -> str:
    """Return the coordinator that leads, as soon as one does."""
    wait_for(lambda: any(_leads(world, n) for n in world.coordinators), "a leader")
    return next(n for n in world.coordinators if _leads(world, n))


def _leads(world: World, name: str) -> bool:
    try:
        return bool(Coordinator(world.coordinators[name]).get("/readyz")["details"]["leads"])
    except ClientError:
        return False


def _other(world: World, name: str | None) -> str:
    return next(url for n, url in world.coordinators.items() if n != name)


def _name(world: World, url: str) -> str:
    return next(n for n, u in world.coordinators.items() if u == url)
