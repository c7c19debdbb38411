"""Found boxes against labelled ones. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

SAME = 0.3  # overlap from which a box is that of a labelled face


class Area(NamedTuple):
    """A rectangle in pixels: upper left corner, width, height; score orders what was found, higher first."""

    x: float
    y: float
    w: float
    h: float
    score: float = 1.0


class Detections(NamedTuple):
    """How many things are labelled, how many boxes were found, how many of them are right."""

    labelled: int = 0
    found: int = 0
    right: int = 0

    @property
    def recall(self) -> float:
        """Share of the labelled things that were found, 0-1."""
        return self.right / self.labelled if self.labelled else 0.0

    @property
    def precision(self) -> float:
        """Share of the boxes that are right, 0-1."""
        return self.right / self.found if self.found else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision."""
        return 2 * self.right / (self.labelled + self.found) if self.right else 0.0


def overlap(a: Area, b: Area) -> float:
    """Return the intersection over the union, 0-1."""
    wide = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    high = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    shared = max(0.0, wide) * max(0.0, high)
    union = a.w * a.h + b.w * b.h - shared
    return shared / union if union else 0.0


def matches(found: Iterable[Area], labelled: Sequence[Area], same: float = SAME) -> int:
    """Return how many of *labelled* were found: each by one box that overlaps it by more than *same*, best first."""
    left, count = list(labelled), 0
    for box in sorted(found, key=lambda b: -b.score):
        best = max(left, key=lambda thing: overlap(box, thing), default=None)
        if best is not None and overlap(box, best) > same:
            left.remove(best)
            count += 1
    return count


def judge(pictures: Iterable[tuple[Sequence[Area], Sequence[Area]]]) -> Detections:
    """Return the sums over *pictures*, each (found, labelled)."""
    labelled = found = right = 0
    for boxes, things in pictures:
        labelled, found, right = labelled + len(things), found + len(boxes), right + matches(boxes, things)
    return Detections(labelled, found, right)
