"""Track: the same thing keeps its number from frame to frame, by overlap with where it was expected.

Greedy matching on intersection over union, as in Bochinski and others 2017 ("High-speed tracking-by-detection
without using image information"), with a steady-motion guess of each place and a second round by distance for small
or fast things.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from handlers.base import Handler, Params, Range
from handlers.types import Box, Boxes

SMOOTHING = 0.5  # share of the newest movement in the guess of the next


class TrackParams(Params, frozen=True):
    """Parameters of handler type 21."""

    iou: Annotated[float, Range(0.0, 1.0)] = 0.3  # overlap (IoU) that makes two boxes the same thing
    distance: Annotated[float, Range(0.0, 10.0)] = 0.5  # or middles this near, in mean box sides; 0: by overlap only
    max_age: Annotated[int, Range(0, 10_000)] = 30  # frames that a thing may go unseen before its number ends
    min_hits: Annotated[int, Range(1, 100)] = 1  # frames that a thing must be seen before it is shown
    same_label: bool = True  # a thing keeps its label; false: recognized faces, whose names may come and go


@dataclass(slots=True)
class Track:
    """One thing: where it is expected (x, y of the middle, w, h), how it moves per frame, since when it is unseen."""

    track_id: int
    label: str
    place: NDArray[np.float64]
    speed: NDArray[np.float64]
    hits: int = 1
    unseen: int = 0


class TrackHandler(Handler[TrackParams]):
    """Boxes -> Boxes with track_id, from 1, never used twice by this handler."""

    params_type = TrackParams
    inputs, outputs = (Boxes,), (Boxes,)
    stateful = True  # numbers go on from frame to frame

    def prepare(self) -> None:
        """Begin without tracks."""
        self._tracks: list[Track] = []
        self._next_id = 1

    def execute(self, boxes: Boxes) -> Boxes:
        """Return *boxes* in their order, with track_id; those seen less than `min_hits` times are left out."""
        for track in self._tracks:
            track.place[:2] += track.speed
            track.unseen += 1
        matched = self._match(boxes)
        shown = Boxes()
        for index, box in enumerate(boxes):
            track = self._follow(matched[index], box) if index in matched else self._begin(box)
            if track.hits >= self.params.min_hits:
                shown.append(replace(box, track_id=track.track_id))
        self._tracks = [t for t in self._tracks if t.unseen <= self.params.max_age]
        return shown

    def _match(self, boxes: Boxes) -> dict[int, Track]:
        """Return the track of each box that has one: by overlap first, then by distance; best pairs first."""
        found: dict[int, Track] = {}
        for measure, least in ((overlap, self.params.iou), (nearness, 1 - self.params.distance)):
            if measure is nearness and self.params.distance == 0:
                continue
            taken = {t.track_id for t in found.values()}
            free = [t for t in self._tracks if t.track_id not in taken]
            pairs = [
                (measure(t.place, place(b)), i, t)
                for i, b in enumerate(boxes)
                if i not in found
                for t in free
                if t.label == b.label or not self.params.same_label
            ]
            for value, index, track in sorted(pairs, key=lambda p: (-p[0], p[2].track_id, p[1])):
                if value >= least and value > 0 and index not in found and track.track_id not in taken:
                    found[index] = track
                    taken.add(track.track_id)
        return found

    def _begin(self, box: Box) -> Track:
        track = Track(self._next_id, box.label, place(box), np.zeros(2))
        self._next_id += 1
        self._tracks.append(track)
        return track

    def _follow(self, track: Track, box: Box) -> Track:
        now = place(box)
        moved = (now[:2] - track.place[:2]) / track.unseen + track.speed
        track.speed = SMOOTHING * moved + (1 - SMOOTHING) * track.speed
        track.place, track.label, track.unseen = now, box.label, 0
        track.hits += 1
        return track


def place(box: Box) -> NDArray[np.float64]:
    """Return x, y of the middle, w, h; float64 (4,)."""
    return np.array([box.x + box.w / 2, box.y + box.h / 2, box.w, box.h], np.float64)


def overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the intersection over union of two places, 0 to 1."""
    sides = np.minimum(a[:2] + a[2:] / 2, b[:2] + b[2:] / 2) - np.maximum(a[:2] - a[2:] / 2, b[:2] - b[2:] / 2)
    shared = float(np.prod(np.maximum(0, sides)))
    joint = float(np.prod(a[2:]) + np.prod(b[2:])) - shared
    return shared / joint if joint > 0 else 0.0


def nearness(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return 1 - the distance of two middles in mean box sides; things of half the size or less are far."""
    side_a, side_b = float(a[2:].mean()), float(b[2:].mean())
    if min(side_a, side_b) * 2 <= max(side_a, side_b):
        return -1.0
    return 1 - float(np.linalg.norm(a[:2] - b[:2])) / ((side_a + side_b) / 2)
