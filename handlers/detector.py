"""What detectors share: common parameters, crops, bounded work, and looking inside the crops of an earlier detector."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, TypeVar

import numpy as np
from numpy.typing import NDArray

from handlers.base import FrameError, Handler, Params, Range
from handlers.pixels import scale
from handlers.types import Box, Boxes, Image

UHD = 3840 * 2160


class DetectorParams(Params, frozen=True):
    """Parameters that all detectors take."""

    with_crop: bool = False  # give each box the part of the frame around it, for handlers that look closer
    multiple: bool = True  # False: the largest box only


class FaceDetectorParams(DetectorParams, frozen=True):
    """Parameters that detectors of faces take: their time grows with the picture."""

    max_pixels: Annotated[int, Range(10_000, 100_000_000)] = UHD  # larger pictures are searched at a smaller size


@dataclass(frozen=True, slots=True)
class Found:
    """A detection in pixels of the searched picture; score: higher is better, the detector's own scale.

    label: where it is not the detector's own. landmarks: float32 (n, 2), x and y in pixels of the searched picture.
    """

    score: float
    x: int
    y: int
    w: int
    h: int
    label: str | None = None
    landmarks: NDArray[np.float32] | None = None

    def enlarged(self, across: float, down: float) -> "Found":
        """Return it in pixels of a picture that is *across* times as wide and *down* times as high."""
        x, y = round(self.x * across), round(self.y * down)
        w, h = max(1, round(self.w * across)), max(1, round(self.h * down))
        marks = None if self.landmarks is None else (self.landmarks * [across, down]).astype(np.float32)
        return replace(self, x=x, y=y, w=w, h=h, landmarks=marks)


D = TypeVar("D", bound=DetectorParams)
F = TypeVar("F", bound=FaceDetectorParams)


class Detector(Handler[D]):
    """Image -> Boxes; given Boxes with crops it looks inside each crop instead."""

    label = "face"

    def find(self, image: Image) -> list[Found]:
        """Return what is in *image* (uint8 (H, W, 3) BGR)."""
        raise NotImplementedError

    def limit(self) -> int | None:
        """Return how many pixels `find` may get; a larger picture is shrunk for it. None: as many as there are."""
        return None

    def execute(self, value: Image | Boxes) -> Boxes:
        """Return boxes in pixels of the frame, inside it, with crops when asked.

        Raises FrameError for Boxes without crops and for what is no picture.
        """
        boxes = self._inside(value) if isinstance(value, Boxes) else self._boxes(value, 0, 0)
        if self.params.multiple or len(boxes) <= 1:
            return boxes
        return Boxes([max(boxes, key=lambda b: b.w * b.h)])

    def _boxes(self, image: Image, left: int, top: int) -> Boxes:
        """Return what is in *image*, whose upper left corner lies at (*left*, *top*) of the frame."""
        check_picture(image)
        boxes = [box for f in self._search(image) if (box := clipped(self._box(f), image)) is not None]
        if self.params.with_crop:
            boxes = [with_crop(b, image, left, top) for b in boxes]
        corner = np.array([left, top], np.float32)
        return Boxes(
            replace(b, x=b.x + left, y=b.y + top, landmarks=None if b.landmarks is None else b.landmarks + corner)
            for b in boxes
        )

    def _search(self, image: Image) -> list[Found]:
        """Return what `find` sees in *image* or, when it has more pixels than `limit`, in a smaller copy of it."""
        height, width = image.shape[:2]
        small_width, small_height = shrunk(width, height, self.limit())
        if (small_width, small_height) == (width, height):
            return self.find(image)
        found = self.find(scale(image, small_width, small_height))
        return [f.enlarged(width / small_width, height / small_height) for f in found]

    def _box(self, found: Found) -> Box:
        label = self.label if found.label is None else found.label
        return Box(label, found.score, found.x, found.y, found.w, found.h, landmarks=found.landmarks)

    def _inside(self, outer: Boxes) -> Boxes:
        """Return what lies in the crops of *outer*, once: with its middle in the outer box, not just in the margin."""
        found = Boxes()
        for box in outer:
            if box.crop is None or box.crop_x is None or box.crop_y is None:
                raise FrameError(f"box {box.label!r} at {box.x},{box.y} has no crop: set with_crop on its detector")
            inner = self._boxes(box.crop, box.crop_x, box.crop_y)
            found += [b for b in inner if _middle_inside(b, box)]
        return found


class FaceDetector(Detector[F]):
    """A detector of faces, whose work is bounded by `max_pixels`."""

    def doublings(self) -> int:
        """Return how often `find` doubles the picture before it searches."""
        return 0

    def limit(self) -> int | None:
        """Return what `max_pixels` leaves before doubling."""
        return self.params.max_pixels >> 2 * self.doublings()


def shrunk(width: int, height: int, limit: int | None) -> tuple[int, int]:
    """Return (width, height) of at most *limit* pixels in the same proportions; as they are when they fit."""
    if limit is None or width * height <= limit:
        return width, height
    factor = math.sqrt(limit / (width * height))
    small = max(1, int(width * factor)), max(1, int(height * factor))
    return min(small[0], limit), min(small[1], limit)  # of a picture that is one pixel wide or high


def check_picture(image: Image) -> None:
    """Raise FrameError unless *image* is uint8 (H, W, 3) with pixels in it."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise FrameError(f"not a picture of uint8 (H, W, 3) with H and W above 0: {image.dtype} {image.shape}")


def clipped(box: Box, image: Image) -> Box | None:
    """Return the part of *box* inside *image*, or None when there is none."""
    height, width = image.shape[:2]
    x0, y0 = max(0, box.x), max(0, box.y)
    x1, y1 = min(width, box.x + box.w), min(height, box.y + box.h)
    return replace(box, x=x0, y=y0, w=x1 - x0, h=y1 - y0) if x1 > x0 and y1 > y0 else None


def _middle_inside(inner: Box, outer: Box) -> bool:
    x, y = inner.x + inner.w / 2, inner.y + inner.h / 2
    return outer.x <= x < outer.x + outer.w and outer.y <= y < outer.y + outer.h


def with_crop(box: Box, image: Image, left: int = 0, top: int = 0) -> Box:
    """Return *box* (in pixels of *image*) with a copy of *image* around it.

    The margin is one box side each way, clipped at the edges of *image*. crop_x and crop_y are where the crop lies
    in the frame, when *image* lies at (*left*, *top*) of it.
    """
    height, width = image.shape[:2]
    x0, x1 = max(0, box.x - box.w), min(width, box.x + 2 * box.w)
    y0, y1 = max(0, box.y - box.h), min(height, box.y + 2 * box.h)
    crop = np.ascontiguousarray(image[y0:y1, x0:x1])
    return replace(box, crop=crop, crop_x=left + x0, crop_y=top + y0)
