"""Light handlers of the fault laboratory: they tell which frame they had, and what they had before."""

import os
import time

from handlers.base import FrameError, Handler, Params
from handlers.types import Box, Boxes, Image
from tests.faults.marks import number_in

LOAD_S = 2.0  # of SlowStartHandler


class ReadHandler(Handler[Params]):
    """Image -> Boxes: one box whose `x` is the number in the picture."""

    inputs, outputs = (Image,), (Boxes,)

    def execute(self, image: Image) -> Boxes:
        """Return the box."""
        return Boxes([Box("read", 1.0, number_in(image), 0, 0, 0)])


class MatchHandler(Handler[Params]):
    """Image, Boxes -> Boxes: the boxes, when both inputs are of the same frame."""

    inputs, outputs = (Image, Boxes), (Boxes,)

    def execute(self, image: Image, boxes: Boxes) -> Boxes:
        """Return *boxes*. Raises FrameError when the join put two frames together."""
        if boxes[0].x != number_in(image):
            raise FrameError(f"the picture is {number_in(image)}, its boxes are of {boxes[0].x}")
        return boxes


class CountHandler(Handler[Params]):
    """Boxes -> Boxes: `label` names this process, `y` counts the frames that it has had."""

    inputs, outputs = (Boxes,), (Boxes,)
    stateful = True

    def prepare(self) -> None:
        """Begin to count."""
        self._count = 0

    def execute(self, boxes: Boxes) -> Boxes:
        """Return the box with the count, from 0."""
        self._count += 1
        return Boxes([Box(str(os.getpid()), 1.0, boxes[0].x, self._count - 1, 0, 0)])


class SlowStartHandler(Handler[Params]):
    """Image -> Image: the picture, by a handler that loads for longer than others need to go on without it."""

    inputs, outputs = (Image,), (Image,)

    def prepare(self) -> None:
        """Load."""
        time.sleep(LOAD_S)

    def execute(self, image: Image) -> Image:
        """Return *image*."""
        return image
