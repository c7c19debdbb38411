"""SfaceRecognize: names of faces by SFace (Zhong and others, 2021), aligned by YuNet's five landmarks."""

from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handlers.base import Context, Range
from handlers.detector import shrunk
from handlers.gallery import Face
from handlers.manifest import find, locate
from handlers.network import load
from handlers.pixels import scale
from handlers.recognizer import Recognizer, RecognizerParams
from handlers.types import Image
from handlers.yunet import SCORE, Yunet

LANDMARKS = 5
MAX_PIXELS = 100_000_000  # of a frame
SEARCHED_PIXELS = 4_000_000  # of a crop, for landmarks
LOOSE, NMS = 0.3, 0.3  # a detector saw a face here already: YuNet's own threshold may be low
# Where eyes, nose tip and mouth corners are in an upright face's box: means over YuNet's boxes of frontal faces.
TYPICAL = np.array([[0.30, 0.40], [0.70, 0.40], [0.50, 0.60], [0.34, 0.78], [0.66, 0.78]], np.float32)


class SfaceRecognizeParams(RecognizerParams, frozen=True):
    """Parameters of handler type 19."""

    model: str = "sface-int8"  # an id of the manifest: sface-int8 or sface
    landmarks: str = "yunet-int8"  # an id of the manifest: finds the landmarks where the detector gave none
    thresh: Annotated[float, Range(0.0, 2.0)] = 0.95  # largest distance of the same person


class SfaceEmbedder:
    """YuNet and SFace; raises Unavailable when a file is missing or damaged."""

    dim = 128

    def __init__(self, model: str, landmarks: str, model_path: Path) -> None:
        self._network = load(model, model_path, lambda path: cv2.FaceRecognizerSF.create(path, ""))
        self._yunet = Yunet(landmarks, model_path, LOOSE, NMS)
        self.identity = f"{find(landmarks).sha256[:12]}-{find(model).sha256[:12]}"

    def describe(self, face: Face) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Return the vector of *face*, float64 (128,) of length 1, and its landmarks, float32 (5, 2).

        The landmarks are the face's own where it has five, else those YuNet sees, else where they usually are.
        """
        points = self._landmarks(face)
        picture, corner = _in_place(face)
        row = np.array([face.x, face.y, face.w, face.h, *(points + corner).reshape(-1), 1.0], np.float32)
        row[:2] += corner
        vector = np.asarray(self._network.feature(self._network.alignCrop(picture, row[None])), np.float64)[0]
        return vector / max(float(np.linalg.norm(vector)), 1e-12), points

    def _landmarks(self, face: Face) -> NDArray[np.float32]:
        if face.landmarks is not None and face.landmarks.shape == (LANDMARKS, 2):
            return np.asarray(face.landmarks, np.float32)
        rows = self._rows(face.picture)
        best = max(rows, key=lambda row: _overlap(face, row), default=None)
        if best is not None and _overlap(face, best) > 0:
            return np.asarray(best[4:SCORE], np.float32).reshape(LANDMARKS, 2)
        return np.array([face.x, face.y], np.float32) + TYPICAL * np.array([face.w, face.h], np.float32)

    def _rows(self, picture: Image) -> NDArray[np.float32]:
        """Return what YuNet sees in *picture*, in a smaller copy of it when it has more than SEARCHED_PIXELS."""
        height, width = picture.shape[:2]
        small = shrunk(width, height, SEARCHED_PIXELS)
        rows = self._yunet.rows(scale(picture, *small))
        rows[:, :SCORE] *= width / small[0]
        return rows


def _in_place(face: Face) -> tuple[Image, NDArray[np.float32]]:
    """Return the face's picture where it lies in the frame, black around it, and how far that has moved it.

    OpenCV aligns in single precision: the same face elsewhere gives vectors that differ by some 1e-5. The black part
    is memory that is never touched.
    """
    height, width = face.picture.shape[:2]
    right, bottom = face.left + width, face.top + height
    if min(face.left, face.top) < 0 or right * bottom > MAX_PIXELS:
        return face.picture, np.zeros(2, np.float32)
    frame = np.zeros((bottom, right, 3), np.uint8)
    frame[face.top :, face.left :] = face.picture
    return frame, np.array([face.left, face.top], np.float32)


def _overlap(face: Face, row: NDArray[np.float32]) -> float:
    """Return the area that *face* and the box of *row* share, in pixels."""
    x, y, w, h = (float(v) for v in row[:4])
    wide = min(face.x + face.w, x + w) - max(face.x, x)
    high = min(face.y + face.h, y + h) - max(face.y, y)
    return max(0.0, wide) * max(0.0, high)


class SfaceRecognizeHandler(Recognizer[SfaceRecognizeParams]):
    """Boxes with crops -> Boxes; embedding float64 (128,), landmarks float32 (5, 2) in pixels of the frame."""

    params_type = SfaceRecognizeParams

    @classmethod
    def check(cls, params: Any, context: Context) -> None:
        """Raise Unavailable when a model is missing."""
        super().check(params, context)
        locate(params.model, context.model_path)
        locate(params.landmarks, context.model_path)

    def load(self) -> SfaceEmbedder:
        """Return YuNet with SFace. Raises Unavailable."""
        return SfaceEmbedder(self.params.model, self.params.landmarks, self.context.model_path)
