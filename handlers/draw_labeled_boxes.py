"""DrawLabeledBoxes: outlines of found things with their names on the picture."""

import numpy as np

from handlers.base import Handler, Params
from handlers.canvas import GREEN, RED, draw_box, draw_caption
from handlers.types import Box, Boxes, Image


class DrawLabeledBoxesParams(Params, frozen=True):
    """Handler type 17 has no parameters."""


class DrawLabeledBoxesHandler(Handler[DrawLabeledBoxesParams]):
    """Image, Boxes -> Image; unknown faces are red, all else is green."""

    params_type = DrawLabeledBoxesParams
    inputs, outputs = (Image, Boxes), (Image,)

    def execute(self, image: Image, boxes: Boxes) -> Image:
        """Return a copy of *image* (uint8 (H, W, 3) BGR) with a rectangle and a caption for each box."""
        canvas = self.output(image.shape)
        np.copyto(canvas, image)
        for box in boxes:
            colour = RED if box.label == "unknown" else GREEN
            draw_box(canvas, box, colour)
            draw_caption(canvas, box, caption(box), colour)
        return canvas


def caption(box: Box) -> str:
    """Return "label distance", or "label score" when no distance is known."""
    number = box.score if box.distance is None else box.distance
    return f"{box.label} {number:.2f}"
