"""Each model file is loaded once per process, however many parts of a handler use it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np
import onnxruntime
import pytest

from handlers.base import Context, Unavailable, load_class, read_params
from handlers.types import Boxes
from tests.handler_support import SAMPLES
from tests.unit.handlers import zoo

READERS = [
    (cv2.dnn, "readNetFromDarknet"),
    (cv2.dnn, "readNetFromTensorflow"),
    (cv2.dnn, "readNetFromONNX"),
    (cv2.dnn, "readNetFromTorch"),
    (cv2.dnn, "readNet"),
    (cv2.FaceDetectorYN, "create"),
    (cv2.FaceRecognizerSF, "create"),
    (cv2, "CascadeClassifier"),
    (dlib, "shape_predictor"),
    (dlib, "face_recognition_model_v1"),
    (dlib, "cnn_face_detection_model_v1"),
    (dlib, "get_frontal_face_detector"),
    (onnxruntime, "InferenceSession"),
]
GROUPS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "DETECTORS": zoo.DETECTORS,
    "RECOGNIZERS": zoo.RECOGNIZERS,
    "OBJECTS": zoo.OBJECTS,
}
FILES = {  # how many files each reads
    "haar": 1, "hog": 1, "mmod": 1, "mtcnn": 3, "yunet": 1, "dlib": 3, "facenet": 5, "sface": 3, "openface": 3,
    "yolo": 2, "ssd": 2, "nanodet": 1,
}  # fmt: skip


def counting(read: Callable[..., Any], name: str, seen: Counter[str]) -> Callable[..., Any]:
    def counted(*args: Any, **more: Any) -> Any:
        paths = [Path(str(a)).name for a in args if isinstance(a, str) and a]
        seen.update(paths or [name])
        return read(*args, **more)

    return counted


@pytest.mark.parametrize(("group", "name"), [(g, n) for g, names in GROUPS.items() for n in names])
def test_nothing_is_loaded_twice(group: str, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From the first check to a frame, with people in the gallery whose pictures are new."""
    seen: Counter[str] = Counter()
    for owner, attribute in READERS:
        monkeypatch.setattr(owner, attribute, counting(getattr(owner, attribute), attribute, seen))
    where, params = GROUPS[group][name]
    cls = load_class(f"handlers.{where}")
    context = Context(zoo.folder(), SAMPLES / "gallery", cache_path=tmp_path)
    handler = cls(read_params(cls, params), context)
    try:
        cls.check(handler.params, context)
        handler.prepare()
    except Unavailable as error:
        pytest.skip(f"{error} (scripts/setup --models all)")
    handler.execute(Boxes() if group == "RECOGNIZERS" else np.zeros((64, 64, 3), np.uint8))
    handler.finish()
    assert set(seen.values()) == {1}, seen
    assert len(seen) == FILES[name], seen
