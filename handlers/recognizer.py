"""What recognizers share: a vector for each face, the nearest known face, and when that is near enough to be named."""

from dataclasses import replace
from typing import Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from handlers.base import FrameError, Handler, Params, Range
from handlers.detector import check_picture
from handlers.gallery import BUDGET_S, FIRST_BUDGET_S, Embedder, Face, Gallery
from handlers.types import Box, Boxes, Image

UNKNOWN = "unknown"


class RecognizerParams(Params, frozen=True):
    """Parameters that all recognizers take; each has its own model and thresh too."""

    gallery: str = ""  # a gallery of the coordinator; empty: the node's own folder, else the gallery "default"
    thresh: Annotated[float, Range(0.0, 2.0)] = 1.0  # largest distance of the same person


R = TypeVar("R", bound=RecognizerParams)


def face_of(box: Box) -> Face:
    """Return the face of *box* in its crop. Raises FrameError without a crop, or when the two do not fit together."""
    if box.crop is None or box.crop_x is None or box.crop_y is None:
        raise FrameError(f"box at {box.x},{box.y} has no crop: set with_crop on the detector")
    check_picture(box.crop)
    x, y = box.x - box.crop_x, box.y - box.crop_y
    height, width = box.crop.shape[:2]
    if not (0 < box.w <= width and 0 < box.h <= height and -box.w < x < width and -box.h < y < height):
        raise FrameError(f"box {box.w}x{box.h} at {x},{y} of its crop does not lie in it: that has {width}x{height}")
    known = None if box.landmarks is None else box.landmarks - np.array([box.crop_x, box.crop_y])
    return Face(box.crop, x, y, box.w, box.h, known, box.crop_x, box.crop_y)


class Recognizer(Handler[R]):
    """Boxes with crops -> Boxes with label, distance, embedding and landmarks, without crops."""

    inputs, outputs = (Boxes,), (Boxes,)

    def load(self) -> Embedder:
        """Return the model, ready to use. Raises Unavailable."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Load the models and the gallery. Raises Unavailable."""
        self.check(self.params, self.context)
        self._embedder = self.load()
        cache = self.context.cache_path or self.context.model_path / "gallery-cache"
        self._gallery = Gallery(self.context.gallery_path, cache, self._embedder)
        self._gallery.refresh(FIRST_BUDGET_S)

    def execute(self, boxes: Boxes) -> Boxes:
        """Return *boxes* with names: the nearest known face, or "unknown" when it is farther than `thresh`.

        A person of whom a "not" picture is nearer is passed over (`handlers.naming`). The distance is that to the
        face that gave the name, of an unknown one to the nearest face; None with an empty gallery. Embedding: float64.
        Landmarks: (n, 2) in pixels of the frame. Raises FrameError for boxes without a crop.
        """
        self._gallery.refresh(BUDGET_S)
        return Boxes(self._recognize(box) for box in boxes)

    def describe(self, face: Face) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
        """Return the vector of *face*, float64 (dim,), and its landmarks in pixels of its picture."""
        return self._embedder.describe(face)

    def describe_aligned(self, picture: Image) -> NDArray[np.float64]:
        """Return the vector of a face that an aligning handler has cut out. Raises FrameError where that won't do."""
        raise FrameError(f"{type(self).__name__} takes the crops of detectors, not aligned faces")

    def _recognize(self, box: Box) -> Box:
        if box.crop is not None and (box.crop_x is None or box.crop_y is None):
            vector, points = self.describe_aligned(box.crop), box.landmarks
        else:
            face = face_of(box)
            vector, points = self.describe(face)
            corner = np.array([face.left, face.top])
            points = None if points is None else (points + corner).astype(points.dtype)
        label, distance = self._gallery.known.name(vector, self.params.thresh)
        label = label or UNKNOWN
        return replace(
            box, label=label, distance=distance, crop=None, crop_x=None, crop_y=None, embedding=vector, landmarks=points
        )
