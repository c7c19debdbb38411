"""Decode: a picture's bytes to pixels."""

from typing import Annotated

from handlers.base import Handler, Params, Range
from handlers.pictures import MAX_PIXELS, PILLOW_MAX_PIXELS, decode_picture
from handlers.types import Encoded, Image


class DecodeParams(Params, frozen=True):
    """Parameters of handler type 6."""

    max_pixels: Annotated[int, Range(1, PILLOW_MAX_PIXELS)] = MAX_PIXELS  # width x height; larger ones are refused


class DecodeHandler(Handler[DecodeParams]):
    """Encoded (JPEG, PNG, WebP, BMP) -> Image."""

    params_type = DecodeParams
    inputs, outputs = (Encoded,), (Image,)

    def execute(self, encoded: Encoded) -> Image:
        """Return the picture, uint8 (H, W, 3) BGR. Raises FrameError for bad, cut-off or too large pictures."""
        return decode_picture(encoded.data, self.params.max_pixels)
