"""OnnxDetectObject: things by an ONNX network on onnxruntime: NanoDet or YOLOX, told by the network's outputs."""

from importlib.util import find_spec
from typing import Annotated, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handlers.base import Context, Range, Unavailable
from handlers.detector import Found
from handlers.manifest import locate
from handlers.network import damaged
from handlers.objects import ObjectDetector, ObjectParams
from handlers.pixels import scale
from handlers.types import Image

MEAN_BGR = np.array([103.53, 116.28, 123.675], np.float32)  # NanoDet's and ImageNet's
SPREAD_BGR = np.array([57.375, 57.12, 58.395], np.float32)
STRIDES = (8, 16, 32)  # pixels of the network's input per cell
YOLOX_GREY = 114  # what YOLOX was trained to see beside the picture

Rows = tuple[NDArray[np.float32], NDArray[np.float32]]  # boxes (n, 4): x0, y0, x1, y1; scores (n, classes)


class OnnxDetectObjectParams(ObjectParams, frozen=True):
    """Parameters of handler type 20."""

    model: str = "nanodet"  # an id of the manifest: nanodet or yolox-s
    thresh: Annotated[float, Range(0.0, 1.0)] = 0.35  # smallest score
    nms: Annotated[float, Range(0.0, 1.0)] = 0.6  # of two boxes of a label that overlap by more, the better one stays


class OnnxDetectObjectHandler(ObjectDetector[OnnxDetectObjectParams]):
    """NanoDet or YOLOX on onnxruntime."""

    params_type = OnnxDetectObjectParams
    models = ("model",)

    @classmethod
    def check(cls, params: Any, context: Context) -> None:
        """Raise Unavailable when a model or onnxruntime is missing, or a target is no label."""
        super().check(params, context)
        if find_spec("onnxruntime") is None:
            raise Unavailable("onnxruntime is not installed: pip install onnxruntime")

    def load(self) -> None:
        """Load the network. Raises Unavailable, also for gpu where there is none."""
        cv2.setNumThreads(1)
        self._session = self._read()
        entry = self._session.get_inputs()[0]
        self._input, self._side = entry.name, int(entry.shape[2])

    def _read(self) -> Any:
        import onnxruntime

        providers = ["CPUExecutionProvider"]
        if self.params.gpu:
            if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
                raise Unavailable("gpu: this onnxruntime has no CUDA (pip install onnxruntime-gpu); set gpu to false")
            providers.insert(0, "CUDAExecutionProvider")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only
        path = locate(self.params.model, self.context.model_path)
        try:
            return onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:
            raise damaged(path, error) from error

    def find(self, image: Image) -> list[Found]:
        """Return the wanted things in *image* (uint8 (H, W, 3) BGR), best first."""
        height, width = image.shape[:2]
        is_yolox = len(self._session.get_outputs()) == 1
        ratio = min(self._side / height, self._side / width)
        picture = self._letterboxed(image, ratio) if is_yolox else self._stretched(image)
        outputs = self._session.run(None, {self._input: picture.transpose(2, 0, 1)[None]})
        corners, scores = yolox_rows(outputs[0][0], self._side) if is_yolox else nanodet_rows(outputs, self._side)
        scores = scores[:, self.wanted]
        best = scores.argmax(axis=1)
        boxes = np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
        boxes = boxes / ratio if is_yolox else boxes * (np.array([width, height] * 2, np.float32) / self._side)
        return self.best(boxes, scores[np.arange(len(scores)), best], self.wanted[best])

    def _stretched(self, image: Image) -> NDArray[np.float32]:
        picture = cv2.resize(image, (self._side, self._side), interpolation=cv2.INTER_LINEAR)
        return np.asarray((picture - MEAN_BGR) / SPREAD_BGR, np.float32)

    def _letterboxed(self, image: Image, ratio: float) -> NDArray[np.float32]:
        height, width = image.shape[:2]
        wide, high = max(1, int(width * ratio)), max(1, int(height * ratio))
        canvas = np.full((self._side, self._side, 3), YOLOX_GREY, np.float32)
        canvas[:high, :wide] = scale(image, wide, high)
        return canvas


def nanodet_rows(outputs: list[NDArray[np.float32]], side: int) -> Rows:
    """Return NanoDet's boxes and class scores, in pixels of its input.

    A side's distance from the cell's middle comes as a distribution over whole strides; its mean counts (Li and
    others 2020, "Generalized focal loss").
    """
    corners, scores = [], []
    for stride in STRIDES:
        cells = -(-side // stride)
        here = [o[0] for o in outputs if o.shape[1] == cells**2]
        classes, edges = sorted(here, key=lambda o: -o.shape[1])  # 80 classes; 4 sides of 11 odds
        spread = edges.reshape(cells**2, 4, -1)
        odds = np.exp(spread - spread.max(axis=2, keepdims=True))
        distances = (odds * np.arange(spread.shape[2])).sum(axis=2) / odds.sum(axis=2) * stride
        middles = _cells(cells) * stride + stride / 2
        corners.append(np.column_stack([middles - distances[:, :2], middles + distances[:, 2:]]))
        scores.append(classes)
    return np.concatenate(corners).astype(np.float32), np.concatenate(scores)


def yolox_rows(output: NDArray[np.float32], side: int) -> Rows:
    """Return YOLOX's boxes and class scores (Ge and others 2021), in pixels of its input."""
    grid = np.concatenate([np.column_stack([_cells(side // s), np.full((side // s) ** 2, s)]) for s in STRIDES])
    middles = (output[:, :2] + grid[:, :2]) * grid[:, 2:]
    sides = np.exp(output[:, 2:4]) * grid[:, 2:]
    corners = np.column_stack([middles - sides / 2, middles + sides / 2]).astype(np.float32)
    return corners, output[:, 5:] * output[:, 4:5]


def _cells(count: int) -> NDArray[np.float32]:
    """Return x and y of *count* x *count* cells, row by row."""
    y, x = np.divmod(np.arange(count * count), count)
    return np.column_stack([x, y]).astype(np.float32)
