"""Pictures that carry a number, so that every result tells which frame it was made of. Survives JPEG and a hop."""

import cv2
import numpy as np
from numpy.typing import NDArray

BITS, SIDE = 32, 8  # a block of JPEG per bit
COLUMNS = 8
ROWS = BITS // COLUMNS
SIZES = ((120, 160), (240, 320), (64, 64))  # height, width: frames change their size in mid-stream


def picture(number: int) -> bytes:
    """Return a JPEG that carries *number* (0 to 2**32 - 1), with noise below it."""
    height, width = SIZES[number % len(SIZES)]
    image = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
    bits = [(number >> i) & 1 for i in range(BITS)]
    blocks = np.array(bits, np.uint8).reshape(ROWS, COLUMNS) * 255
    image[: ROWS * SIDE, : COLUMNS * SIDE] = np.kron(blocks, np.ones((SIDE, SIDE), np.uint8))[..., None]
    return cv2.imencode(".jpg", image)[1].tobytes()


def number_in(image: NDArray[np.uint8]) -> int:
    """Return the number that *image* (uint8 (H, W, 3)) carries."""
    middles = image[SIDE // 2 : ROWS * SIDE : SIDE, SIDE // 2 : COLUMNS * SIDE : SIDE, 1].reshape(-1)
    return sum(1 << i for i, value in enumerate(middles.tolist()) if value > 127)
