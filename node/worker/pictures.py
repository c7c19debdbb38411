"""Pictures change their form at the edges of a handler: JPEG on a hop or in a result, pixels inside."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from handlers.base import FrameError
from handlers.pictures import decode_picture
from handlers.types import Boxes, Encoded, Image
from wire.packet import Buffer, EncodedPart, Part

HOP_QUALITY = 95  # JPEG quality of a link with encoding "jpeg"
RESULT_QUALITY = 85  # of pictures that clients get


def as_jpeg(value: Any, *, for_hop: bool = False) -> tuple[Part, list[Buffer]] | None:
    """Return an Image as a JPEG part, or None for any other value. Raises FrameError."""
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3:
        return None
    if not value.size:
        raise FrameError(f"an image of {value.shape} has no pixels")
    done, data = cv2.imencode(".jpg", value, [cv2.IMWRITE_JPEG_QUALITY, HOP_QUALITY if for_hop else RESULT_QUALITY])
    if not done:
        raise FrameError(f"cannot encode an image of {value.shape}")
    return EncodedPart(media_type="image/jpeg", buffer=0, decode=for_hop), [data.tobytes()]


def plain_boxes(value: Any) -> Any:
    """Return Boxes without crops, embeddings and landmarks, as clients get them; other values as they are."""
    if not isinstance(value, list):
        return value
    bare = {"crop": None, "crop_x": None, "crop_y": None, "embedding": None, "landmarks": None}
    return Boxes(replace(b, **bare) for b in value)


def unpacked(values: list[Any], types: tuple[Any, ...]) -> list[Any]:
    """Return *values* with encoded pictures decoded where the handler takes pixels.

    Raises FrameError for what the handler does not take: a client may post any packet.
    """
    return [_as_input(v, t) for v, t in zip(values, types, strict=True)]


def _as_input(value: Any, kind: Any) -> Any:
    if kind is Image and isinstance(value, Encoded):
        return decode_picture(value.data)
    if (kind is Encoded and not isinstance(value, Encoded)) or (kind is Boxes and not isinstance(value, Boxes)):
        raise FrameError(f"{type(value).__name__} where {kind.__name__} belongs")
    if kind is Image and isinstance(value, np.ndarray) and (value.dtype != np.uint8 or value.shape[2:] != (3,)):
        raise FrameError(f"{value.dtype} {value.shape} where a picture belongs")
    return value
