"""The rows: each does its damage several times and returns what was seen.

A session is face_detection with Haar on a small picture: its entry on one node, the detector on another.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.common import Outcome, Row, Say
from benchmarks.recovery.traffic import Traffic, photo, traffic
from benchmarks.recovery.world import World, wait_for
from client.coordinator import Session
from wire.messages import SessionRequest

DETECT = 1  # handler_id of face_detection's detector
FPS = 10.0
LIGHT = {"scale_factor": 1.3, "min_size": 60}  # the detector's work takes a few ms: no frame waits for a core
WARM_S, AFTER_S = 1.5, 2.0
MOMENT_S = 0.5  # damage is done at any moment of this time
USUAL_FIRST_S, FIRST_RESULT_S, LATE_S, CONVERGED_S, LEADS_S = 3.0, 5.0, 1.0, 3.0, 5.0  # the first is of the median


@dataclass(frozen=True)
class Times:
    """What happened in each run, in seconds."""

    runs: list[dict[str, float]]

    def worst(self, key: str) -> float:
        return max(r[key] for r in self.runs)

    def median(self, key: str) -> float:
        ordered = sorted(r[key] for r in self.runs)
        return ordered[len(ordered) // 2]

    def row(self, what: str, key: str, limit: float, unit: str = "s") -> Row:
        """Return the worst of *key* against its limit."""
        note = f"median {self.median(key):.2f} of {len(self.runs)} runs: " + ", ".join(
            f"{r[key]:.2f}" for r in self.runs
        )
        return Row(what, self.worst(key), unit, at_most=limit, note=note)

    def middle(self, what: str, key: str, limit: float, note: str = "") -> Row:
        """Return the median of *key*, seconds, against its limit."""
        return Row(what, self.median(key), "s", at_most=limit, note=note)

    def calm(self, what: str) -> Row:
        """Return the worst delay of a frame while *what* was there: what the machine itself does to frames."""
        note = f"median {self.median('calm_s'):.2f}"
        return Row(f"{what} there: worst delay of a frame, in between", self.worst("calm_s"), "s", note=note)


def request(entry: list[int], detect: list[int], work: dict[str, Any] | None = None, **options: Any) -> SessionRequest:
    """Return a lossless session: entry and decoder on one of *entry*, the detector on one of *detect*; work: its."""
    return SessionRequest(
        service="face_detection",
        variant="haar",
        pin={0: entry, DETECT: detect},
        replicas={0: 1, DETECT: 1},
        params={DETECT: LIGHT if work is None else work},
        **options,
    )


@contextmanager
def session(world: World, asked: SessionRequest, among: Sequence[int] = ()) -> Iterator[Session]:
    """Run a session for the length of the block; among: its first node is drawn of these, the others take nothing."""
    first = world.chance.choice(among) if among else None
    with closed(world, [n for n in among if n != first]):
        made = world.api.create(asked)
    try:
        yield made
    finally:
        world.api.delete(made.session_id)


@contextmanager
def closed(world: World, node_ids: Sequence[int]) -> Iterator[None]:
    """Have *node_ids* take no new handlers while the block runs."""
    for node_id in node_ids:
        world.api._call("post", f"/nodes/{node_id}/cordon")
    try:
        yield
    finally:
        for node_id in node_ids:
            world.api._call("post", f"/nodes/{node_id}/uncordon")


def place_of(world: World, session_id: int, handler_id: int = DETECT) -> int:
    """Return the node where the coordinator has the handler."""
    return int(world.api.session(session_id).placement[str(handler_id)][0])


def state_of(world: World, session_id: int) -> str:
    """Return the session's state as the coordinator has it."""
    return world.api.session(session_id).state


def warm(seen: Traffic, after: int = 0) -> None:
    """Wait until frames flow: WARM_S of them."""
    wait_for(lambda: len(seen.answers) > after + WARM_S * FPS, "frames to flow", lambda: seen.fault)


def flowing(world: World, seen: Traffic) -> None:
    """Wait until WARM_S more of frames have flowed, and for a drawn moment after that."""
    warm(seen, len(seen.answers))
    time.sleep(world.chance.uniform(0.0, MOMENT_S))


def kill(world: World, runs: int, say: Say, *, entry: bool = False) -> Outcome:
    """Kill the group of the node that detects (or, with *entry*, also receives the frames), again and again."""
    nodes = world.node_ids[1:]
    asked = request(nodes if entry else [1], nodes)
    found, lost = [], 0
    with session(world, asked, nodes) as made, traffic(world.url, made.session_id, FPS, photo()) as seen:
        for _ in range(runs):
            flowing(world, seen)
            victim = place_of(world, made.session_id)
            at = world.kill(f"node-{victim}")
            first = wait_for(lambda: _elsewhere(seen, victim, at), "a result from another node", lambda: seen.fault)  # noqa: B023
            wait_for(lambda: state_of(world, made.session_id) == "running", "the session to recover")
            found.append({"first_s": first - at})
            say(f"first result from another node after {first - at:.2f} s")
            world.start(f"node-{victim}")
            world.wait_up()
    lost = seen.lost
    what = "the entry's node" if entry else "a node"
    times = Times(found)
    return Outcome(
        [
            times.middle(f"kill -9 of {what}: first result from the new place after, median", "first_s", USUAL_FIRST_S),
            times.row(f"kill -9 of {what}: first result from the new place after", "first_s", FIRST_RESULT_S),
            Row(f"kill -9 of {what}: frames of a lossless session without a result", lost, "", at_most=0,
                note=f"of {seen.sent}"),
        ],
        {"runs": found, "sent": seen.sent, "lost": lost},
    )  # fmt: skip


def _elsewhere(seen: Traffic, victim: int, at: float) -> bool:
    return any(a.at > at and a.result.ok and a.node_of(DETECT) not in (None, victim) for a in list(seen.answers)[-50:])


def drain(world: World, runs: int, say: Say, *, entry: bool = False) -> Outcome:
    """Drain the node that detects (or, with *entry*, also receives the frames), again and again."""
    nodes = world.node_ids[1:]
    found = []
    with (
        session(world, request(nodes if entry else [1], nodes), nodes) as made,
        traffic(world.url, made.session_id, FPS, photo()) as seen,
    ):
        for _ in range(runs):
            flowing(world, seen)
            victim, at = place_of(world, made.session_id), time.monotonic()
            world.api.drain(victim)
            wait_for(lambda: place_of(world, made.session_id) != victim, "the handler to leave")  # noqa: B023
            wait_for(lambda: _state(world, victim) == "cordoned", "the node to be empty")  # noqa: B023
            empty = time.monotonic()
            wait_for(lambda: len(seen.between(empty)) > AFTER_S * FPS, "frames after it")  # noqa: B023
            found.append({"late_s": seen.worst_delay_s(at), "empty_s": empty - at})
            say(f"empty after {empty - at:.2f} s, worst delay of a frame {found[-1]['late_s']:.2f} s")
            world.api._call("post", f"/nodes/{victim}/uncordon")
            wait_for(lambda: world.up() == set(world.node_ids), "the node to be back")
    what = "the entry's node" if entry else "a node"
    times = Times(found)
    return Outcome(
        [
            Row(f"drain of {what}: frames lost", seen.lost, "", at_most=0, note=f"of {seen.sent}"),
            times.row(f"drain of {what}: worst delay of a frame", "late_s", LATE_S),
        ],
        {"runs": found, "sent": seen.sent, "lost": seen.lost},
    )


def _state(world: World, node_id: int) -> str:
    return str(world.api.get(f"/nodes/{node_id}")["state"])
