"""YoloDetectObject: things by a Darknet YOLO network, or a TensorFlow SSD, on OpenCV.

YOLO: Redmon and Farhadi 2018; SSD MobileNetV2: Liu and others 2016, Sandler and others 2018.
"""

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from handlers.base import Context
from handlers.detector import Found
from handlers.manifest import locate
from handlers.network import load, need_cuda, on_gpu
from handlers.objects import ObjectDetector, ObjectParams
from handlers.types import Image

# COCO's 91 numbers leave out eleven that no picture has; 0 is the background. SSD uses those, the 80 names do not.
COCO_LEFT_OUT = (0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83)


class YoloDetectObjectParams(ObjectParams, frozen=True):
    """Parameters of handler type 7."""

    config: str = "yolov3-tiny-cfg"  # ids of the manifest; a .pbtxt is the description of a TensorFlow SSD
    weights: str = "yolov3-tiny"
    size: Literal[224, 300, 320, 416, 512, 608] = 416  # pixels: the network's input; SSD has 300


class YoloDetectObjectHandler(ObjectDetector[YoloDetectObjectParams]):
    """Darknet's YOLO, or a TensorFlow SSD, on OpenCV."""

    params_type = YoloDetectObjectParams
    models = ("config", "weights")

    @classmethod
    def check(cls, params: Any, context: Context) -> None:
        """Raise Unavailable when a model is missing, a target is no label, or gpu is asked for and not there."""
        super().check(params, context)
        need_cuda(params.gpu)

    def load(self) -> None:
        """Load the network. Raises Unavailable."""
        p, folder = self.params, self.context.model_path
        config = str(locate(p.config, folder))
        self._is_ssd = config.endswith(".pbtxt")
        read = cv2.dnn.readNetFromTensorflow if self._is_ssd else cv2.dnn.readNetFromDarknet
        self._network = load(p.weights, folder, lambda path: read(path, config) if self._is_ssd else read(config, path))
        on_gpu(self._network, p.gpu)
        self._outputs = self._network.getUnconnectedOutLayersNames()

    def find(self, image: Image) -> list[Found]:
        """Return the wanted things in *image* (uint8 (H, W, 3) BGR), best first."""
        side, scale = self.params.size, 1.0 if self._is_ssd else 1 / 255
        self._network.setInput(cv2.dnn.blobFromImage(image, scale, (side, side), swapRB=True))
        outputs = [np.asarray(o, np.float32) for o in self._network.forward(self._outputs)]
        boxes, scores, classes = _ssd(outputs) if self._is_ssd else _yolo(outputs, self.wanted)
        height, width = image.shape[:2]
        return self.best(boxes * np.array([width, height] * 2, np.float32), scores, classes)


Rows = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]  # boxes (n, 4), scores (n,), classes (n,)


def _yolo(outputs: list[NDArray[np.float32]], wanted: NDArray[np.int64]) -> Rows:
    """Return boxes (x, y, w, h in parts of the picture) with the best wanted class of each."""
    rows = np.concatenate(outputs)  # x and y of the middle, w, h, objectness, class scores
    scores = rows[:, 5:][:, wanted]
    best = scores.argmax(axis=1)
    boxes = np.column_stack([rows[:, :2] - rows[:, 2:4] / 2, rows[:, 2:4]]).astype(np.float32)
    return boxes, scores[np.arange(len(rows)), best], wanted[best]


def _ssd(outputs: list[NDArray[np.float32]]) -> Rows:
    """Return boxes (x, y, w, h in parts of the picture); the network has removed double ones."""
    rows = outputs[0].reshape(-1, 7)  # picture, class, score, x0, y0, x1, y1
    numbers = rows[:, 1].astype(np.int64)
    left_out = np.array(COCO_LEFT_OUT)
    classes = numbers - (left_out[None, :] < numbers[:, None]).sum(axis=1)
    boxes = np.column_stack([rows[:, 3:5], rows[:, 5:7] - rows[:, 3:5]]).astype(np.float32)
    return boxes, rows[:, 2], classes
