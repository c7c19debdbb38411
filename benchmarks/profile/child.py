"""The process in which a handler type is measured: started by the fork server that nodes use, with its environment."""

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import psutil

LEAST, MOST = 5, 300  # frames of each size
BUDGET_S = 0.5  # for each size, once LEAST frames are through


@dataclass(frozen=True)
class Task:
    """What to measure."""

    class_name: str
    params: Mapping[str, Any]
    sizes: tuple[str, ...]
    model_path: str
    gallery_path: str
    least: int = LEAST
    budget_s: float = BUDGET_S
    started: float = field(default_factory=time.time)


def measure(pipe: Connection, task: Task) -> None:
    """Target of the process: send the figures, or {"unavailable": reason}."""
    from handlers.base import Unavailable

    try:
        with tempfile.TemporaryDirectory(prefix="faceservice-profile-") as folder:
            pipe.send(_figures(task, Path(folder)))
    except Unavailable as error:
        pipe.send({"unavailable": str(error)})
    except Exception as error:  # noqa: BLE001 - told to the one who asked
        pipe.send({"unavailable": f"{type(error).__name__}: {error}"})


def _figures(task: Task, folder: Path) -> dict[str, Any]:
    subject = _Subject(task, folder)
    subject.prepare(task.sizes[0])
    found: dict[str, Any] = {
        "load_ms": (time.time() - task.started) * 1000,
        "loaded_mb": memory_mb(),
        "ms_by_size": {},
        "cpu_ms_by_size": {},
        "mem_mb_by_size": {},
        "output_bytes_by_size": {},
    }
    for size in task.sizes:
        ms, cpu_ms, given = subject.measure(size)
        found["ms_by_size"][size], found["cpu_ms_by_size"][size] = ms, cpu_ms
        found["mem_mb_by_size"][size] = memory_mb()
        found["output_bytes_by_size"][size] = given
    subject.finish()
    return found


class _Subject:
    """The handler and how it is called."""

    def __init__(self, task: Task, folder: Path) -> None:
        from handlers.base import load_class

        self._task, self._folder = task, folder
        self._class = load_class(task.class_name)
        self._is_source = not self._class.inputs
        self._handler: Any = None

    def prepare(self, size: str) -> None:
        """Make and prepare the handler; a source reads a video of *size*."""
        from benchmarks.profile import inputs
        from handlers.base import Context, read_params

        own = {"source": str(inputs.video(self._folder, size)), "fps": 0.0} if self._is_source else {}
        context = Context(
            model_path=Path(self._task.model_path),
            gallery_path=Path(self._task.gallery_path),
            cache_path=self._folder,
        )
        params = read_params(self._class, {**self._task.params, **own})
        self._class.check(params, context)
        self._handler = self._class(params, context)
        self._handler.prepare()

    def measure(self, size: str) -> tuple[float | None, float | None, list[int]]:
        """Return the median ms and the mean CPU ms of a frame (None: refused), and the bytes of each output."""
        from handlers.base import FrameError

        call = self._call(size)
        try:
            given = call()  # the first one warms up
        except FrameError:
            return None, None, []
        times, before = timed(call, self._task.least, self._task.budget_s)
        return median(times) * 1000, (time.process_time() - before) / len(times) * 1000, self._bytes(given)

    def _call(self, size: str) -> Callable[[], Any]:
        from benchmarks.profile import inputs
        from handlers.base import FrameError

        if self._is_source:
            self.finish()
            self.prepare(size)
            return self._read
        image = inputs.picture(size)
        values = inputs.inputs_of(self._class.inputs, image, crop=False)
        try:
            self._handler.execute(*values)
        except FrameError:  # it looks closer
            values = inputs.inputs_of(self._class.inputs, image, crop=True)
        return lambda: self._handler.execute(*values)

    def _read(self) -> Any:
        return self._handler.read()

    def _bytes(self, given: Any) -> list[int]:
        outputs = self._class.outputs
        values = [] if not outputs or given is None else [given] if len(outputs) == 1 else list(given)
        return [packet_bytes(value) for value in values]

    def finish(self) -> None:
        """Release what the handler took."""
        self._handler.finish()


def timed(call: Callable[[], Any], least: int, budget_s: float) -> tuple[list[float], float]:
    """Return the seconds of each call, and the process's CPU seconds before the first.

    It is called *least* times, then until *budget_s* are over or it was called MOST times; a source's end ends it too.
    """
    from handlers.base import EndOfSource

    times: list[float] = []
    before, begin = time.process_time(), time.monotonic()
    while len(times) < least or (time.monotonic() - begin < budget_s and len(times) < MOST):
        start = time.monotonic()
        try:
            call()
        except EndOfSource:
            break
        times.append(time.monotonic() - start)
    return times, before


def packet_bytes(value: Any) -> int:
    """Return what *value* weighs on a hop."""
    from handlers.codec import to_part
    from wire import packet

    part, buffers = to_part(value)
    header = packet.Header(session_id=1, epoch=1, sequence=1, timestamp=time.time(), origin=1, payload=part)
    return packet.total(packet.encode(header, buffers))


def memory_mb() -> float:
    """Return this process's proportional set size in MB: shared pages count by their share."""
    return float(psutil.Process(os.getpid()).memory_full_info().pss) / 1e6
