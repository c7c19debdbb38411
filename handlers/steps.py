"""What is done to some model files after they came, so that they can be read; named in manifest.json. Pure."""

import re
from collections.abc import Callable

from handlers.tf_graph import sort_graph
from handlers.tfjs import convert

MASK = re.compile(rb"(?m)^mask\s*=\s*0\s*,\s*1\s*,\s*2\s*$")


def mend_yolov3_tiny_masks(text: bytes) -> bytes:
    """Return the Darknet config of YOLOv3-tiny with the masks that its published weights were trained with.

    The second [yolo] says `mask = 0,1,2` in nearly every copy; the weights want 1,2,3 (AP50 of people 0.001 -> 0.73).
    Raises ValueError unless there is exactly one such line.
    """
    mended, count = MASK.subn(b"mask = 1,2,3", text)
    if count != 1:
        raise ValueError(f"{count} lines say mask = 0,1,2, not one")
    return mended


STEPS: dict[str, Callable[[bytes], bytes]] = {
    "sort_tensorflow_graph": sort_graph,
    "mend_yolov3_tiny_masks": mend_yolov3_tiny_masks,
    "convert_tfjs_to_onnx": convert,
}
