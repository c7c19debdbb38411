"""YuNet: faces with five landmarks, by OpenCV's FaceDetectorYN (Wu, Peng, Yu 2023)."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handlers.network import load
from handlers.types import Image

SCORE = 14  # column of the score; before it x, y, w, h and 5 landmarks


class Yunet:
    """The loaded network. Raises Unavailable when its file is missing or damaged."""

    def __init__(self, model: str, model_path: Path, thresh: float, nms: float, top_k: int = 5000) -> None:
        def read(path: str) -> Any:
            return cv2.FaceDetectorYN.create(path, "", (320, 320), thresh, nms, top_k)

        self._detector = load(model, model_path, read)

    def rows(self, image: Image) -> NDArray[np.float32]:
        """Return a row of float32 (15,) for each face in *image* (uint8 (H, W, 3) BGR), in pixels of it.

        x, y, w, h; x, y of the eyes, nose tip and mouth corners (those left in the picture first); score 0-1.
        """
        self._detector.setInputSize((image.shape[1], image.shape[0]))
        rows = self._detector.detect(image)[1]
        if rows is None:
            return np.empty((0, 15), np.float32)
        found = np.asarray(rows, np.float32)
        return found[np.isfinite(found).all(axis=1)]  # noise can make its sides infinite
