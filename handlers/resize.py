"""Resize: a picture to another size."""

from typing import Annotated

from handlers.base import FrameError, Handler, Params, Range
from handlers.pixels import scale
from handlers.types import Image


class ResizeParams(Params, frozen=True):
    """Parameters of handler type 4."""

    width: Annotated[int, Range(0, 16_384)] = 640  # pixels; 0: by the height, keeping the proportions
    height: Annotated[int, Range(0, 16_384)] = 480  # pixels; 0: by the width, keeping the proportions


class ResizeHandler(Handler[ResizeParams]):
    """Image -> Image. Boxes found behind it are in pixels of the resized picture."""

    params_type = ResizeParams
    inputs, outputs = (Image,), (Image,)

    def execute(self, image: Image) -> Image:
        """Return *image* (uint8 (H, W, 3) BGR) scaled: by area averaging when it shrinks, bilinear when it grows.

        With both sides 0, or the size as it is, it is *image* itself. Raises FrameError for an empty picture.
        """
        height, width = image.shape[:2]
        if height == 0 or width == 0:
            raise FrameError(f"the picture is empty ({width}x{height})")
        return scale(image, *target_size(width, height, self.params.width, self.params.height), self.output)


def target_size(width: int, height: int, to_width: int, to_height: int) -> tuple[int, int]:
    """Return (width, height) to scale to; a 0 follows from the other side, at least 1 pixel."""
    if to_width == 0 and to_height == 0:
        return width, height
    if to_width == 0:
        to_width = max(1, round(width * to_height / height))
    if to_height == 0:
        to_height = max(1, round(height * to_width / width))
    return to_width, to_height
