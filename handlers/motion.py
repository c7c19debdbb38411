"""Motion: passes a frame on only when the scene has changed since the last one that passed."""

import time
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray

from handlers.base import Handler, Params, Range
from handlers.detector import check_picture
from handlers.types import Image

SIDE = 160  # pixels: frames are compared at this width, which also averages the camera's noise away


class MotionParams(Params, frozen=True):
    """Parameters of handler type 22."""

    threshold: Annotated[float, Range(0.0, 255.0)] = 12.0  # grey levels by which a pixel must change
    area: Annotated[float, Range(0.0, 1.0)] = 0.002  # share of the pixels that must change; 0: any
    at_least_every_s: Annotated[float, Range(0.0, 86_400.0)] = 0.0  # pass a frame after so long anyway; 0: never


class MotionHandler(Handler[MotionParams]):
    """Image -> Image. The first frame passes, and so does one of another size."""

    params_type = MotionParams
    inputs, outputs = (Image,), (Image,)
    stateful = True  # compares with the frame that passed before

    def prepare(self) -> None:
        """Begin without a frame to compare with."""
        cv2.setNumThreads(1)
        self._reference: NDArray[np.uint8] | None = None  # grey, small
        self._shape: tuple[int, ...] = ()
        self._passed = time.monotonic()

    def execute(self, image: Image) -> Image | None:
        """Return *image* (uint8 (H, W, 3) BGR) itself, or None to end it here. Raises FrameError for no picture."""
        check_picture(image)
        grey = _small_grey(image)
        now = time.monotonic()
        if not (self._changed(image, grey) or self._due(now)):
            return None
        self._reference, self._shape, self._passed = grey, image.shape, now
        return image

    def _changed(self, image: Image, grey: NDArray[np.uint8]) -> bool:
        if self._reference is None or image.shape != self._shape:
            return True
        share = float(np.mean(cv2.absdiff(grey, self._reference) > self.params.threshold))
        return share > 0 and share >= self.params.area

    def _due(self, now: float) -> bool:
        return 0 < self.params.at_least_every_s <= now - self._passed


def _small_grey(image: Image) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    wide = min(width, SIDE)
    size = (wide, max(1, round(height * wide / width)))
    return np.asarray(cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY), np.uint8)
