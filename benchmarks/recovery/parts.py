"""The rows about what is smaller than a node, or no frame should notice: handler, gateway, collector, database."""

import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.common import Outcome, Row, Say
from benchmarks.recovery.rows import DETECT, LATE_S, WARM_S, Times, place_of, request, session, warm
from benchmarks.recovery.traffic import Traffic, photo, traffic
from benchmarks.recovery.world import World, wait_for, world
from client.coordinator import Coordinator
from client.errors import ClientError

FPS = 10.0
AWAY_S = 2.0
STARTED = re.compile(r"gateway started, pid (\d+)")
HANDLER_S, GATEWAY_S = (0.5, 1.5), (1.0, 2.0)  # median, worst

Pid = Callable[[], int | None]


def handler(world: World, runs: int, say: Say) -> Outcome:
    """Kill the process of the detector, again and again."""
    with _traffic(world) as (seen, session_id):
        pid = _handler_pid(world, session_id, place_of(world, session_id))
        found = _killed("a handler", seen, runs, pid, say)
    return _back("a handler", seen, found, HANDLER_S)


def gateway(world: World, runs: int, say: Say) -> Outcome:
    """Kill the gateway of the node where the frames come in, again and again."""
    with _traffic(world) as (seen, _):
        found = _killed("the entry's gateway", seen, runs, lambda: _gateway_pid(world, 1), say)
    return _back("the entry's gateway", seen, found, GATEWAY_S)


def collector(world: World, runs: int, say: Say) -> Outcome:
    """Kill the collector under traffic and start it again AWAY_S later."""
    with _traffic(world) as (seen, _):
        found = _away("the collector", seen, runs, _restarter(world, "collector"), say)
    return _unnoticed("the collector", seen, found)


def database(runs: int, say: Say) -> Outcome:
    """Kill MariaDB, with coordinator and collector on it, under traffic, and start it again AWAY_S later."""
    from tests.integration.mariadb import MariaDB, mysql_settings, opened

    with tempfile.TemporaryDirectory(prefix="faceservice-mariadb-") as folder:
        server = MariaDB(opened(Path(folder)))

        def restart() -> None:
            server.kill()
            time.sleep(AWAY_S)
            server.start()

        try:
            with world(database=mysql_settings(server, server.new_schema())) as made, _traffic(made) as (seen, _):
                found = _away("the database", seen, runs, restart, say)
        finally:
            server.stop()
    return _unnoticed("the database", seen, found)


@contextmanager
def _traffic(world: World) -> Iterator[tuple[Traffic, int]]:
    """Run a session, its entry on node 1, its detector on another, and post frames to it."""
    with (
        session(world, request([1], world.node_ids[1:])) as made,
        traffic(world.url, made.session_id, FPS, photo()) as seen,
    ):
        yield seen, made.session_id


def _killed(what: str, seen: Traffic, runs: int, pid_of: Pid, say: Say) -> list[dict[str, float]]:
    """Kill the process that *pid_of* names; measure until there is another, and until the next frame's result."""
    found = []
    for _ in range(runs):
        _steady(seen)
        old = wait_for_pid(pid_of)
        at = time.monotonic()
        os.kill(old, signal.SIGKILL)
        back = wait_for(lambda: pid_of() not in (None, old), f"another process of {what}")  # noqa: B023
        wait_for(lambda: any(a.result.ok for a in seen.between(at)), "a frame sent after it to be answered",  # noqa: B023
                 lambda: seen.fault)  # fmt: skip
        result = min(a.at for a in seen.between(at) if a.result.ok)
        found.append({"back_s": back - at, "next_s": result - at})
        say(f"{what} runs again after {back - at:.2f} s, next result after {result - at:.2f} s")
    return found


def _steady(seen: Traffic) -> None:
    """Wait until WARM_S of frames that are due from now on are answered: others may have waited for a restart."""
    now = time.monotonic()
    wait_for(lambda: len(seen.between(now)) > WARM_S * FPS, "frames to flow", lambda: seen.fault)


def _back(what: str, seen: Traffic, found: list[dict[str, float]], limits: tuple[float, float]) -> Outcome:
    times = Times(found)
    return _outcome(f"kill -9 of {what}", seen, found, [
        times.middle(f"kill -9 of {what}: next result, median", "next_s", limits[0],
                     f"another process after {times.median('back_s'):.2f} s (worst {times.worst('back_s'):.2f})"),
        times.row(f"kill -9 of {what}: next result, worst", "next_s", limits[1]),
    ])  # fmt: skip


def _away(what: str, seen: Traffic, runs: int, restart: Callable[[], None], say: Say) -> list[dict[str, float]]:
    """Take something away for a while; measure by how much the slowest frame was later than usual, with and without."""
    found = []
    for _ in range(runs):
        calm = time.monotonic()
        warm(seen, len(seen.answers) + int(FPS))
        at = time.monotonic()
        restart()
        warm(seen, len(seen.answers))
        found.append({"late_s": seen.worst_delay_s(at), "calm_s": seen.worst_delay_s(calm, at)})
        say(f"{what} away: worst delay of a frame {found[-1]['late_s']:.2f} s; without {found[-1]['calm_s']:.2f} s")
    return found


def _unnoticed(what: str, seen: Traffic, found: list[dict[str, float]]) -> Outcome:
    times = Times(found)
    return _outcome(f"{what} killed and restarted", seen, found, [
        times.row(f"{what} killed and restarted: worst delay of a frame", "late_s", LATE_S),
        times.calm(what),
    ])  # fmt: skip


def _outcome(what: str, seen: Traffic, found: list[dict[str, float]], rows: list[Row]) -> Outcome:
    """Return the rows with the one about lost frames; the traffic has come to its end."""
    missing = f"{what}: frames of a lossless session without a result"
    lost = Row(missing, seen.lost, "", at_most=0, note=f"of {seen.sent}")
    figures: dict[str, Any] = {"runs": found, "sent": seen.sent, "lost": seen.lost}
    return Outcome([*rows, lost], figures)


def _restarter(world: World, name: str) -> Callable[[], None]:
    def restart() -> None:
        world.kill(name)
        time.sleep(AWAY_S)
        world.start(name)

    return restart


def wait_for_pid(pid_of: Pid) -> int:
    """Return the process as soon as there is one."""
    wait_for(pid_of, "the process to be there")
    found = pid_of()
    return found if found is not None else wait_for_pid(pid_of)


def _handler_pid(world: World, session_id: int, node_id: int) -> Pid:
    node = Coordinator(str(world.api.get(f"/nodes/{node_id}")["control_url"]))

    def read() -> int | None:
        try:
            handlers = node.get(f"/sessions/{session_id}")["handlers"]
        except ClientError:
            return None
        states = {int(h["pid"]) for h in handlers if h["handler_id"] == DETECT and h["pid"] and h["state"] == "running"}
        return next(iter(states), None)

    return read


def _gateway_pid(world: World, node_id: int) -> int | None:
    found = STARTED.findall(world.told(f"node-{node_id}"))
    return int(found[-1]) if found else None
