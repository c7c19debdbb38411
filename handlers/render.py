"""Render: the end of a graph for people: its pictures are the session's video, and a window's where there is one."""

import logging
import os
import sys
import time
from typing import Annotated

import cv2

from handlers.base import Handler, Params, Range
from handlers.types import Image

logger = logging.getLogger(__name__)


class RenderParams(Params, frozen=True):
    """Parameters of handler type 3."""

    fps: Annotated[float, Range(0.0, 1000.0)] = 0.0  # at most so many pictures a second; the others end here. 0: all


class RenderHandler(Handler[RenderParams]):
    """Image -> Image, as it is: left unconnected it is the session's picture, so `video_url` always shows it."""

    params_type = RenderParams
    inputs, outputs = (Image,), (Image,)
    stateful = True  # keeps a pace, and one window

    def prepare(self) -> None:
        """Open a window when there is a display and an OpenCV that can."""
        self._next = float("-inf")
        self._window = f"session {self.context.session_id}" if can_show() else None

    def execute(self, image: Image) -> Image | None:
        """Return *image* (uint8 (H, W, 3) BGR), or None when the pace of `fps` leaves it out."""
        now = time.monotonic()
        if self.params.fps > 0:
            if now < self._next:
                return None
            period = 1 / self.params.fps
            self._next = (now if now - self._next > period else self._next) + period  # late by more: begin anew
        if self._window is not None:
            self._show(image)
        return image

    def _show(self, image: Image) -> None:
        try:
            cv2.imshow(self._window or "", image)
            cv2.waitKey(1)
        except cv2.error as error:
            logger.warning("the window is gone, the video goes on: %s", error.err or error)
            self._window = None

    def finish(self) -> None:
        """Close the window."""
        if self._window is not None:
            cv2.destroyAllWindows()


def can_show() -> bool:
    """Return True when there is a display and this OpenCV has windows (opencv-python, not its headless build)."""
    display = sys.platform in ("win32", "darwin") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    gui = next((line for line in cv2.getBuildInformation().splitlines() if line.strip().startswith("GUI:")), "")
    return display and "NONE" not in gui and bool(gui)
