"""OpenCV's conversions with the types that our pictures have (its own stubs say "some numbers")."""

from collections.abc import Callable

import cv2
import numpy as np

from handlers.types import Image


def to_rgb(bgr: Image) -> Image:
    """Return *bgr*, uint8 (H, W, 3), as RGB: dlib's order. A contiguous copy."""
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def scale(
    image: Image, width: int, height: int, memory: Callable[[tuple[int, int, int]], Image] | None = None
) -> Image:
    """Return *image*, uint8 (H, W, 3), at the size: by area averaging when it shrinks, bilinear when it grows.

    The picture itself when it has that size already, else *memory*'s, which is asked for (height, width, 3).
    """
    if (image.shape[1], image.shape[0]) == (width, height):
        return image
    shrinks = width * height < image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    into = None if memory is None else memory((height, width, 3))
    return np.asarray(cv2.resize(image, (width, height), dst=into, interpolation=how), np.uint8)
