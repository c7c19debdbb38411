"""DrawBoxes: outlines of found things on the picture."""

import numpy as np

from handlers.base import Handler, Params
from handlers.canvas import GREEN, draw_box
from handlers.types import Boxes, Image


class DrawBoxesParams(Params, frozen=True):
    """Handler type 16 has no parameters."""


class DrawBoxesHandler(Handler[DrawBoxesParams]):
    """Image, Boxes -> Image."""

    params_type = DrawBoxesParams
    inputs, outputs = (Image, Boxes), (Image,)

    def execute(self, image: Image, boxes: Boxes) -> Image:
        """Return a copy of *image* (uint8 (H, W, 3) BGR) with a rectangle around each box."""
        canvas = self.output(image.shape)
        np.copyto(canvas, image)
        for box in boxes:
            draw_box(canvas, box, GREEN)
        return canvas
