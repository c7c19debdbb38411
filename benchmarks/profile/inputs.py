"""What a handler is given when its cost is measured: a photo of two people, one face of it, and its JPEG."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.common import ROOT
from handlers.detector import with_crop
from handlers.types import Box, Boxes, Encoded, Image

SIZES = ("320x240", "640x480", "1280x720", "1920x1080")
VGA = "640x480"  # what a profile's one figure is of
PHOTO = ROOT / "samples" / "photos" / "obama_and_biden.jpg"
# The left face as YuNet sees it, in shares of the picture's width and height: box, and five landmarks.
FACE = (92 / 640, 66 / 480, 140 / 640, 226 / 480)
POINTS = ((117.6, 144.7), (185.1, 150.1), (138.1, 189.3), (116.9, 225.7), (172.9, 231.2))


def picture(size: str) -> Image:
    """Return the photo in *size* ("640x480"), uint8 (H, W, 3) BGR, read-only. Raises FileNotFoundError."""
    width, height = map(int, size.split("x"))
    photo = cv2.imread(str(PHOTO))
    if photo is None:
        raise FileNotFoundError(PHOTO)
    way = cv2.INTER_AREA if width <= photo.shape[1] else cv2.INTER_LINEAR
    image = np.asarray(cv2.resize(photo, (width, height), interpolation=way), np.uint8)
    image.flags.writeable = False
    return image


def face(image: Image, *, crop: bool) -> Boxes:
    """Return one face with its landmarks, and its crop when asked, as a detector gives it."""
    height, width = image.shape[:2]
    x, y, w, h = (round(v * side) for v, side in zip(FACE, (width, height) * 2, strict=True))
    points = np.array(POINTS, np.float32) * np.array([width / 640, height / 480], np.float32)
    box = Box("face", 1.0, x, y, w, h, landmarks=points)
    return Boxes([with_crop(box, image) if crop else box])


def encoded(image: Image) -> Encoded:
    """Return *image* as JPEG of quality 80."""
    return Encoded(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes())


def inputs_of(types: tuple[Any, ...], image: Image, *, crop: bool) -> tuple[Any, ...]:
    """Return a value for each input: *image*, its JPEG (also where anything is taken), or one face of it."""
    return tuple(_value(kind, image, crop) for kind in types)


def _value(kind: Any, image: Image, crop: bool) -> Any:
    if kind is Image:
        return image
    return face(image, crop=crop) if kind is Boxes else encoded(image)


def video(folder: Path, size: str, frames: int = 40) -> Path:
    """Write *frames* pictures of *size* as a video (Motion JPEG) and return its path."""
    width, height = map(int, size.split("x"))
    path = folder / f"{size}.avi"
    writer = cv2.VideoWriter(str(path), int.from_bytes(b"MJPG", "little"), 25.0, (width, height))
    for _ in range(frames):
        writer.write(picture(size))
    writer.release()
    return path
