"""Values of handlers to parts of packets and back, without copying pictures on the way in."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlers.types import Box, Boxes, Encoded
from wire.packet import (
    ITEM_SIZES,
    MAX_DIMENSIONS,
    ArrayPart,
    BoxesPart,
    BoxPart,
    Buffer,
    EmptyPart,
    EncodedPart,
    ImagePart,
    Part,
)


def to_part(value: Any) -> tuple[Part, list[Buffer]]:
    """Return *value* as a part and its buffers. Raises TypeError or ValueError for what is no handler value."""
    buffers: list[Buffer] = []
    if isinstance(value, np.ndarray):
        return _image(value, buffers), buffers
    if isinstance(value, Encoded):
        buffers.append(value.data)
        return EncodedPart(media_type=value.media_type, buffer=0), buffers
    if isinstance(value, list):
        if not all(isinstance(b, Box) for b in value):
            raise TypeError("a handler gave a list of something else than Box")
        return BoxesPart(boxes=[_box(b, buffers) for b in value]), buffers
    if isinstance(value, EmptyPart):
        return value, buffers
    raise TypeError(f"a handler gave {type(value).__name__}, not Image, Encoded or Boxes")


def from_part(part: Part | None, buffers: Sequence[memoryview]) -> Any:
    """Return the value of *part*: arrays are read-only views of *buffers*; EmptyPart stays as it is."""
    if isinstance(part, ImagePart | ArrayPart):
        return _array(part, buffers)
    if isinstance(part, EncodedPart):
        return Encoded(buffers[part.buffer].toreadonly(), part.media_type)
    if isinstance(part, BoxesPart):
        return Boxes(_unbox(b, buffers) for b in part.boxes)
    if isinstance(part, EmptyPart):
        return part
    raise TypeError(f"no value in {type(part).__name__}")


def _image(array: NDArray[Any], buffers: list[Buffer]) -> ImagePart:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise TypeError(f"an image is uint8 (H, W, 3), not {array.dtype} {array.shape}")
    buffers.append(np.ascontiguousarray(array).reshape(-1).data)
    return ImagePart(shape=(array.shape[0], array.shape[1], 3), buffer=len(buffers) - 1)


def _numbers(array: NDArray[Any], buffers: list[Buffer]) -> ArrayPart:
    if str(array.dtype) not in ITEM_SIZES or array.ndim > MAX_DIMENSIONS:
        raise TypeError(f"numbers are {', '.join(ITEM_SIZES)} of few dimensions, not {array.dtype} {array.shape}")
    buffers.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return ArrayPart(shape=tuple(array.shape), dtype=str(array.dtype), buffer=len(buffers) - 1)


def _box(box: Box, buffers: list[Buffer]) -> BoxPart:
    return BoxPart(
        label=box.label,
        score=float(box.score),
        x=int(box.x),
        y=int(box.y),
        w=int(box.w),
        h=int(box.h),
        distance=None if box.distance is None else float(box.distance),
        crop=None if box.crop is None else _image(box.crop, buffers),
        crop_x=box.crop_x,
        crop_y=box.crop_y,
        embedding=None if box.embedding is None else _numbers(box.embedding, buffers),
        landmarks=None if box.landmarks is None else _numbers(box.landmarks, buffers),
        track_id=box.track_id,
    )


def _array(part: ImagePart | ArrayPart, buffers: Sequence[memoryview]) -> NDArray[Any]:
    array = np.frombuffer(buffers[part.buffer], dtype=part.dtype).reshape(part.shape)
    array.flags.writeable = False
    return array


def _unbox(box: BoxPart, buffers: Sequence[memoryview]) -> Box:
    return Box(
        label=box.label,
        score=box.score,
        x=box.x,
        y=box.y,
        w=box.w,
        h=box.h,
        distance=box.distance,
        crop=None if box.crop is None else _array(box.crop, buffers),
        crop_x=box.crop_x,
        crop_y=box.crop_y,
        embedding=None if box.embedding is None else _array(box.embedding, buffers),
        landmarks=None if box.landmarks is None else _array(box.landmarks, buffers),
        track_id=box.track_id,
    )
