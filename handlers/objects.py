"""What detectors of things share: the names of classes, and of boxes that overlap the best."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handlers.base import Unavailable
from handlers.detector import Found
from handlers.manifest import locate


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
