"""What travels between handlers.

Image    numpy uint8 (H, W, 3), BGR, read-only: other handlers may look at the same memory
Encoded  a picture as a file holds it: bytes and media type
Boxes    found things, in pixels of the frame
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A picture as bytes; `data` may be a view of shared memory that lives as long as the frame."""

    data: bytes | memoryview
    media_type: str = "image/jpeg"


@dataclass(frozen=True, slots=True)
class Box:
    """One found thing: x, y (upper left corner), w, h in pixels of the frame; score: higher is better.

    crop: the frame around the box, uint8 (h, w, 3) BGR with a margin of one box side each way, clipped at the
    frame's edges; crop_x, crop_y: where the crop's upper left corner lies in the frame.
    embedding: float64 or float32 (dim,); landmarks: int32 or float32 (n, 2), x and y in pixels of the frame.
    distance: to the nearest known face, in the units of the recognizer (lower is nearer).
    """

    label: str
    score: float
    x: int
    y: int
    w: int
    h: int
    distance: float | None = None
    crop: Image | None = None
    crop_x: int | None = None
    crop_y: int | None = None
    embedding: NDArray[Any] | None = None
    landmarks: NDArray[Any] | None = None
    track_id: int | None = None


class Boxes(list[Box]):
    """Found things, best or largest first is not promised: the detector's own order."""


PORT_TYPES = {"Image": Image, "Encoded": Encoded, "Boxes": Boxes, "any": object}
