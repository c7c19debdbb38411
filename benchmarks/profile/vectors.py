"""A handler that lets a client see the vectors of faces: clients get boxes without them, so they become the labels."""

import base64
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from handlers.base import FrameError, Handler, Params
from handlers.types import Box, Boxes


class VectorsHandler(Handler[Params]):
    """Boxes with embeddings -> Boxes whose labels are the embeddings, as `written` has them."""

    inputs, outputs = (Boxes,), (Boxes,)

    def execute(self, boxes: Boxes) -> Boxes:
        """Return *boxes* with other labels. Raises FrameError for a box without an embedding."""
        return Boxes(replace(box, label=written(vector_of(box))) for box in boxes)


def vector_of(box: Box) -> NDArray[np.float64]:
    """Return the embedding of *box*. Raises FrameError without one."""
    if box.embedding is None:
        raise FrameError(f"box at {box.x},{box.y} has no embedding")
    return np.asarray(box.embedding, np.float64)


def written(vector: NDArray[np.float64]) -> str:
    """Return *vector*, float64 (dim,), as base64 of its little-endian bytes."""
    return base64.b64encode(vector.astype("<f8").tobytes()).decode()


def read(label: str) -> NDArray[np.float64]:
    """Return the vector that `written` wrote, float64 (dim,)."""
    return np.frombuffer(base64.b64decode(label), "<f8")
