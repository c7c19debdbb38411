"""Drawing boxes and captions; always on a copy, because pictures are shared."""

import cv2

from handlers.types import Box, Image

Colour = tuple[int, int, int]  # BGR
GREEN: Colour = (80, 220, 60)
RED: Colour = (60, 60, 235)
BLACK: Colour = (0, 0, 0)
FAR = 1000  # pixels: more than any line is wide
FONT = cv2.FONT_HERSHEY_SIMPLEX
REFERENCE_SIDE = 640  # pixels: a picture whose shorter side has as many gets lines of 2 pixels


def line_width(image: Image) -> int:
    """Return a line width, pixels, that is visible on *image* without hiding it."""
    return int(max(1, round(2 * min(image.shape[:2]) / REFERENCE_SIDE)))


def draw_box(image: Image, box: Box, colour: Colour) -> None:
    """Draw the outline of *box* into *image*; parts outside are not seen."""
    height, width = image.shape[:2]
    x0, x1 = _near(box.x, width), _near(box.x + box.w, width)
    y0, y1 = _near(box.y, height), _near(box.y + box.h, height)
    cv2.rectangle(image, (x0, y0), (x1, y1), colour, line_width(image))


def _near(place: int, side: int) -> int:
    """Return *place*, or where it is just as invisible: OpenCV refuses numbers beyond 32 bits."""
    return max(-side - FAR, min(place, 2 * side + FAR))


def draw_caption(image: Image, box: Box, text: str, colour: Colour) -> None:
    """Write *text* on a filled bar above *box*, or inside it where there is no room. ASCII; others become '?'."""
    width = line_width(image)
    scale = max(0.4, 0.3 * width)
    (text_width, text_height), base = cv2.getTextSize(text, FONT, scale, width)
    bar = text_height + base + 2 * width
    left = max(0, min(box.x, image.shape[1] - text_width - 2 * width))
    top = _near(box.y - bar if box.y >= bar else max(0, box.y), image.shape[0])
    cv2.rectangle(image, (left, top), (left + text_width + 2 * width, top + bar), colour, cv2.FILLED)
    cv2.putText(image, text, (left + width, top + text_height + width), FONT, scale, BLACK, width, cv2.LINE_AA)
