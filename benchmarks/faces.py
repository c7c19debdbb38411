"""decode -> Haar -> draw -> encode over two nodes with both cores busy, against the same handlers in one loop.

The system runs Haar on both nodes (two replicas), decode on the first, draw and encode on the second; a client posts
the same photo (640 x 480) and wants the drawn picture of every frame. Its CPU is that of all processes of both nodes,
telemetry of every frame included. The loop calls the very same handler classes, one after the other; once alone,
and once in two processes at a time, because two busy cores also slow one another down.
"""

import multiprocessing
import os
import statistics
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.cluster import FACES_PARAMS, Cluster
from benchmarks.common import ROOT, Outcome, Row, Say, Scale, cpu, cpu_of
from benchmarks.load import Load
from handlers.base import Context, Handler, load_class, read_params
from node.processes.launcher import ENVIRONMENT

PIN: dict[int, int | list[int]] = {0: 1, 1: [1, 2], 2: 2, 3: 2}
UNDER_WAY = 8
CPU_RATIO, SPEED_UP = 1.12, 1.6
CLASSES = {
    "decode": "handlers.decode:DecodeHandler",
    "detect": "handlers.haar_detect_face:HaarDetectFaceHandler",
    "draw": "handlers.draw_boxes:DrawBoxesHandler",
    "encode": "handlers.encode:EncodeHandler",
}


def photo() -> bytes:
    """Return a photo of two people as a JPEG of 640 x 480."""
    import cv2

    path = ROOT / "samples" / "photos" / "obama_and_biden.jpg"
    picture = cv2.imread(str(path))
    if picture is None:
        raise FileNotFoundError(path)
    _, data = cv2.imencode(".jpg", cv2.resize(picture, (640, 480), interpolation=cv2.INTER_AREA))
    return data.tobytes()


def loop(pipe: Connection, params: dict[str, Any], frame: bytes) -> None:
    """Target of a loop's process: for each number received, handle as many frames and say (seconds, CPU, stages)."""
    from handlers.types import Encoded

    made = {name: make(cls, params if name == "detect" else {}) for name, cls in CLASSES.items()}
    while count := pipe.recv():
        stages = dict.fromkeys(CLASSES, 0.0)
        start, before = time.monotonic(), cpu(os.getpid())
        for _ in range(count):
            ticks = [time.monotonic()]
            image = made["decode"].execute(Encoded(frame))
            ticks.append(time.monotonic())
            boxes = made["detect"].execute(image)
            ticks.append(time.monotonic())
            drawn = made["draw"].execute(image, boxes)
            ticks.append(time.monotonic())
            made["encode"].execute(drawn)
            ticks.append(time.monotonic())
            for name, a, b in zip(CLASSES, ticks, ticks[1:], strict=False):
                stages[name] += (b - a) / count
        pipe.send((time.monotonic() - start, cpu(os.getpid()) - before, stages))


def make(class_name: str, params: dict[str, Any]) -> Handler[Any]:
    """Return a prepared handler."""
    cls = load_class(class_name)
    handler = cls(read_params(cls, params), Context(model_path=Path("models")))
    handler.prepare()
    return handler


class Loops:
    """Two processes that call the handlers in a loop, with the environment that handler processes have."""

    def __init__(self, params: dict[str, Any], frame: bytes) -> None:
        context = multiprocessing.get_context("spawn")
        before = dict(os.environ)
        os.environ.update(ENVIRONMENT)
        self._pipes, self._processes = [], []
        for _ in range(2):
            ours, theirs = context.Pipe()
            process = context.Process(target=loop, args=(theirs, params, frame), daemon=True)
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)
        os.environ.clear()
        os.environ.update(before)

    def round(self, frames: int, processes: int) -> dict[str, float]:
        """Return seconds per frame, CPU seconds per frame, and frames per second of all *processes* together."""
        for pipe in self._pipes[:processes]:
            pipe.send(frames)
        told = [pipe.recv() for pipe in self._pipes[:processes]]
        stages = told[0][2]
        return {
            "cpu_ms": statistics.mean(t[1] for t in told) / frames * 1e3,
            "fps": sum(frames / t[0] for t in told),
            **{f"{name}_ms": seconds * 1e3 for name, seconds in stages.items()},
        }

    def close(self) -> None:
        """End both."""
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.send(0)
            process.join(5)


class Chain:
    """The system under load."""

    def __init__(self, url: str, pids: list[int], frame: bytes) -> None:
        self._load = Load(url, frame, UNDER_WAY, accept="image/jpeg")
        self._pids = pids
        self._load.run(2 * UNDER_WAY)

    def round(self, frames: int) -> dict[str, float]:
        """Return CPU ms per frame of all processes of the nodes, and frames per second."""
        before = cpu_of(self._pids)
        seconds = self._load.run(frames)
        return {"cpu_ms": (cpu_of(self._pids) - before) / frames * 1e3, "fps": frames / seconds}

    def close(self) -> None:
        """Close the connections."""
        self._load.close()


def measure(cluster: Cluster, service: str, frames: int, scale: Scale) -> dict[str, Any]:
    """Return medians of the system, the loop alone and two loops, run in turn, and the ratios of each round."""
    frame = photo()
    loops = Loops(FACES_PARAMS[service], frame)
    try:
        with cluster.session(service, PIN, window=UNDER_WAY) as session:
            chain = Chain(session.session_url, cluster.pids(), frame)
            loops.round(4, 2)
            table = [
                {"system": chain.round(2 * frames), "loop": loops.round(frames, 1), "two": loops.round(frames, 2)}
                for _ in range(scale.rounds)
            ]
            chain.close()
    finally:
        loops.close()
    found: dict[str, Any] = {
        way: {key: statistics.median(r[way][key] for r in table) for key in table[0][way]} for way in table[0]
    }
    found["cpu_ratio"] = statistics.median(r["system"]["cpu_ms"] / r["two"]["cpu_ms"] for r in table)
    found["cpu_ratio_alone"] = statistics.median(r["system"]["cpu_ms"] / r["loop"]["cpu_ms"] for r in table)
    found["speed_up"] = statistics.median(r["system"]["fps"] / r["loop"]["fps"] for r in table)
    found["two_loops"] = statistics.median(r["two"]["fps"] / r["loop"]["fps"] for r in table)
    return found


def run(cluster: Cluster, scale: Scale, say: Say) -> Outcome:
    """Measure with Haar as shipped, and with a light Haar, where the system's own cost weighs more."""
    rows: list[Row] = []
    figures = {}
    for service, frames in (("faces", scale.pick(12, 4)), ("faces_light", scale.pick(40, 20))):
        figures[service] = found = measure(cluster, service, frames, scale)
        rows += _rows(service, found)
        for row in rows[-2:]:
            say(f"{row.what}: {row.value:.2f} x ({row.note})")
    return Outcome(rows, figures)


def _rows(service: str, found: dict[str, Any]) -> list[Row]:
    shipped = service == "faces"
    name = "decode, Haar, draw, encode" if shipped else "the same with a light Haar"
    loop_, two, system = found["loop"], found["two"], found["system"]
    cpu_note = (
        f"{system['cpu_ms']:.1f} ms against {two['cpu_ms']:.1f} (two loops at a time) and "
        f"{loop_['cpu_ms']:.1f} (one alone: {found['cpu_ratio_alone']:.2f} x)"
    )
    stages = {k: loop_[f"{k}_ms"] for k in CLASSES}
    bound = min(sum(stages.values()) / (max(stages["detect"] / 2, stages["decode"], stages["draw"])), 2.0)
    fps_note = (
        f"{system['fps']:.2f} against {loop_['fps']:.2f} frames/s; two loops {found['two_loops']:.2f} x; "
        f"pipeline bound {bound:.2f} x; stages {', '.join(f'{k} {v:.1f}' for k, v in stages.items())} ms"
    )
    at_most, at_least = (CPU_RATIO, SPEED_UP) if shipped else (None, None)
    return [
        Row(f"{name}: CPU per frame over the loop's", found["cpu_ratio"], "x", at_most=at_most, note=cpu_note),
        Row(f"{name}: frames/s over the loop's", found["speed_up"], "x", at_least=at_least, note=fps_note),
    ]
