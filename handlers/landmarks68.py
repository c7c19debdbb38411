"""Alignment by three of the 68 landmarks of iBUG 300-W, found by dlib."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from handlers.alignment import warp
from handlers.dlib_face import load_dlib
from handlers.hog_detect_face import need_dlib
from handlers.pixels import to_rgb
from handlers.types import Image

Indices = Literal["outer_eyes_and_nose", "inner_eyes_and_bottom_lip"]
# Which landmarks, and where OpenFace's networks were trained to have them, in parts of the picture's side (means over
# many faces, scaled to the landmarks' bounding box; the values of the OpenFace project, 2016, Apache-2.0).
TEMPLATES: dict[str, tuple[list[int], NDArray[np.float32]]] = {
    "outer_eyes_and_nose": (
        [36, 45, 33],
        np.array([[0.194157, 0.169267], [0.788859, 0.158171], [0.494951, 0.514441]], np.float32),
    ),
    "inner_eyes_and_bottom_lip": (
        [39, 42, 57],
        np.array([[0.363785, 0.177947], [0.618963, 0.172778], [0.500204, 0.750584]], np.float32),
    ),
}


class LandmarkAligner:
    """The landmark predictor with a template. Raises Unavailable when dlib or its file is missing or damaged."""

    def __init__(self, predictor: str, indices: Indices, dim: int, model_path: Path) -> None:
        need_dlib()
        import dlib

        self._rectangle: Any = dlib.rectangle
        self._predictor = load_dlib(dlib.shape_predictor, predictor, model_path)
        self._indices, self._template = TEMPLATES[indices]
        self._dim = dim

    def align(self, picture: Image, x: int, y: int, w: int, h: int) -> tuple[Image, NDArray[np.int32]]:
        """Return the face at x, y, w, h of *picture* (uint8 BGR) as uint8 (dim, dim, 3) BGR, and its landmarks.

        Landmarks: int32 (68, 2), in pixels of *picture*.
        """
        shape = self._predictor(to_rgb(picture), self._rectangle(x, y, x + w, y + h))
        points = np.array([(p.x, p.y) for p in shape.parts()], np.int32)
        face = warp(picture, points[self._indices].astype(np.float32), self._template, self._dim)
        return face, points
