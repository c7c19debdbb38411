"""A FaceClient that posts pictures at a steady rate, and when each was due and answered."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

import cv2

from benchmarks.common import ROOT
from client.face_client import FaceClient
from client.results import Result

WIDTH = 200  # of the picture: a frame shall cost little
PHOTO = ROOT / "samples" / "photos" / "obama2.jpg"


@dataclass(frozen=True, slots=True)
class Answer:
    """due: when the frame should have left, at: when its result was handed out (monotonic, s)."""

    due: float
    at: float
    result: Result

    @property
    def late_s(self) -> float:
        """Seconds from when it was due to its result."""
        return self.at - self.due

    def node_of(self, handler_id: int) -> int | None:
        """Return the node where the handler worked on it."""
        return next((s.node_id for s in self.result.trace if s.handler_id == handler_id), None)


@dataclass
class Traffic:
    """What was sent, and what came back, in the order of the frames."""

    sent: int = 0
    answers: list[Answer] = field(default_factory=list)
    fault: Exception | None = None

    @property
    def lost(self) -> int:
        """Frames that were not answered with a good result, once."""
        good = {a.result.number for a in self.answers if a.result.ok}
        return self.sent - len(good) + len(self.answers) - len({a.result.number for a in self.answers})

    @property
    def usual_s(self) -> float:
        """Median time of an answer."""
        return median(a.late_s for a in self.answers)

    def between(self, begin: float, end: float = float("inf")) -> list[Answer]:
        """Return the answers to frames that were due then."""
        return [a for a in list(self.answers) if begin <= a.due < end]

    def worst_delay_s(self, begin: float, end: float = float("inf")) -> float:
        """Return by how much the slowest of those frames was later than usual."""
        return max((a.late_s for a in self.between(begin, end)), default=0.0) - self.usual_s


def photo(width: int = WIDTH) -> bytes:
    """Return a JPEG with a face."""
    image = cv2.imread(str(PHOTO))
    if image is None:
        raise FileNotFoundError(PHOTO)
    small = cv2.resize(image, (width, image.shape[0] * width // image.shape[1]))
    return bytes(cv2.imencode(".jpg", small)[1])


@contextmanager
def traffic(coordinator: str, session_id: int, fps: float, picture: bytes) -> Iterator[Traffic]:
    """Post *picture* at *fps* while the block runs; every frame is answered before this returns. Raises its fault."""
    over, found = threading.Event(), Traffic()

    def pictures(begin: float) -> Iterator[bytes]:
        while not over.wait(max(0.0, begin + found.sent / fps - time.monotonic())):
            found.sent += 1
            yield picture

    def run() -> None:
        begin = time.monotonic()
        try:
            with FaceClient(session=session_id, coordinator=coordinator) as client:
                for place, result in enumerate(client.stream(pictures(begin))):
                    found.answers.append(Answer(begin + place / fps, time.monotonic(), result))
        except Exception as error:  # noqa: BLE001 - a thread's boundary: raised where the block ends
            found.fault = error

    thread = threading.Thread(target=run, name="traffic", daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join(90)
    if found.fault is not None:
        raise found.fault
