"""What detectors of things share: parameters, the names of classes, and of boxes that overlap the best."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from handlers.base import Context, Range, Unavailable
from handlers.detector import Detector, DetectorParams, Found
from handlers.manifest import locate
from handlers.types import Boxes, Image


class ObjectParams(DetectorParams, frozen=True):
    """Parameters that detectors of things take."""

    gpu: bool = False  # run by CUDA; refused where the library has none
    labels: str = "coco-names"  # an id of the manifest
    targets: list[str] = []  # labels that are wanted; empty: all
    thresh: Annotated[float, Range(0.0, 1.0)] = 0.25  # smallest score
    nms: Annotated[float, Range(0.0, 1.0)] = 0.45  # of two boxes of a label that overlap by more, the better one stays


T = TypeVar("T", bound=ObjectParams)


class ObjectDetector(Detector[T]):
    """Image -> Boxes with the labels of the network's classes. The score is from 0 to 1."""

    inputs, outputs = (Image,), (Boxes,)
    models: ClassVar[tuple[str, ...]]  # the parameters that name the network's files

    @classmethod
    def check(cls, params: Any, context: Context) -> None:
        """Raise Unavailable when a model is missing, or a target is no label."""
        for name in cls.models:
            locate(getattr(params, name), context.model_path)
        wanted_classes(params.targets, class_names(params.labels, context.model_path))

    def load(self) -> None:
        """Load the network. Raises Unavailable."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Load the network and run it once. Raises Unavailable, also for gpu where there is none."""
        self.check(self.params, self.context)
        self._names = class_names(self.params.labels, self.context.model_path)
        self.wanted = wanted_classes(self.params.targets, self._names)  # numbers of classes
        self.load()
        self.find(np.zeros((64, 64, 3), np.uint8))

    def best(self, boxes: NDArray[np.float32], scores: NDArray[np.float32], classes: NDArray[np.int64]) -> list[Found]:
        """Return the wanted of *boxes* (n, 4; x, y, w, h in pixels), best first."""
        return best_of(boxes, scores, classes, self._names, self.wanted, self.params.thresh, self.params.nms)


def class_names(labels: str, model_path: Path) -> list[str]:
    """Return the lines of the manifest's file *labels*. Raises Unavailable when it is missing."""
    return [line.strip() for line in locate(labels, model_path).read_text().splitlines() if line.strip()]


def wanted_classes(targets: list[str], names: list[str]) -> NDArray[np.int64]:
    """Return the numbers of *targets*, of all names when there are none. Raises Unavailable, naming what is no name."""
    unknown = [t for t in targets if t not in names]
    if unknown:
        raise Unavailable(f"targets {', '.join(unknown)}: the network knows {', '.join(names)}")
    return np.array([names.index(t) for t in targets] if targets else range(len(names)), np.int64)


def best_of(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    classes: NDArray[np.int64],
    names: list[str],
    wanted: NDArray[np.int64],
    thresh: float,
    nms: float,
) -> list[Found]:
    """Return the boxes (n, 4; x, y, w, h in pixels) of wanted classes above *thresh*, best first.

    Of two of one class that overlap by more than *nms* (IoU) the better one stays.
    """
    keep = (scores >= thresh) & np.isin(classes, wanted) & np.isfinite(boxes).all(axis=1)
    boxes, scores, classes = boxes[keep], scores[keep], classes[keep]
    if not len(boxes):
        return []
    left = cv2.dnn.NMSBoxesBatched(boxes.tolist(), scores.tolist(), classes.tolist(), thresh, nms)
    found = []
    for i in np.asarray(left).reshape(-1):
        x, y = round(float(boxes[i, 0])), round(float(boxes[i, 1]))
        w, h = (max(1, round(float(v))) for v in boxes[i, 2:])
        found.append(Found(float(scores[i]), x, y, w, h, label=names[int(classes[i])]))
    return sorted(found, key=lambda f: -f.score)
