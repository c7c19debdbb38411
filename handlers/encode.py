"""Encode: pixels to a JPEG."""

from typing import Annotated

import cv2

from handlers.base import FrameError, Handler, Params, Range
from handlers.types import Encoded, Image

MAX_SIDE = 65_500  # pixels: libjpeg's JPEG_MAX_DIMENSION


class EncodeParams(Params, frozen=True):
    """Parameters of handler type 5."""

    quality: Annotated[int, Range(1, 100)] = 80  # libjpeg's scale


class EncodeHandler(Handler[EncodeParams]):
    """Image -> Encoded (image/jpeg)."""

    params_type = EncodeParams
    inputs, outputs = (Image,), (Encoded,)

    def execute(self, image: Image) -> Encoded:
        """Return *image* (uint8 (H, W, 3) BGR) as a JPEG. Raises FrameError when a side is 0 or over MAX_SIDE."""
        return encode_jpeg(image, self.params.quality)


def encode_jpeg(image: Image, quality: int) -> Encoded:
    """Return *image* (uint8 (H, W, 3) BGR) as a JPEG of *quality* (1-100). Raises FrameError."""
    height, width = image.shape[:2]
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise FrameError(f"a picture of {width}x{height} pixels cannot be a JPEG (1 to {MAX_SIDE} each way)")
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return Encoded(data.tobytes(), "image/jpeg")
