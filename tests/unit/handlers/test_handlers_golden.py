"""Results are those of the libraries' own calls, made here in one process: boxes and vectors of the networks.

Haar, HOG and dlib's vectors: test_handlers_detect.py, test_handlers_recognize.py; YuNet, SFace, MMOD:
test_handlers_zoo.py.
"""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from handlers.manifest import find
from handlers.types import Box, Boxes, Image
from tests.handler_support import SAMPLES
from tests.unit.handlers import zoo


def photo(name: str) -> Image:
    return np.asarray(cv2.imread(str(SAMPLES / f"photos/{name}.jpg")), np.uint8)


def file(model_id: str) -> str:
    return str(zoo.folder() / find(model_id).file)


@pytest.mark.parametrize("size", [320, 416])
def test_yolo_s_boxes_are_those_of_opencv_s_detection_model(size: int) -> None:
    image = photo("obama_and_biden")
    ours = zoo.made("OBJECTS", "yolo", size=size).execute(image)
    model = cv2.dnn.DetectionModel(file("yolov3-tiny-cfg"), file("yolov3-tiny"))
    model.setInputParams(scale=1 / 255, size=(size, size), swapRB=True)
    classes, scores, boxes = model.detect(image, confThreshold=0.25, nmsThreshold=0.45)
    names = (zoo.MODELS / "coco.names").read_text().splitlines()
    compare(ours, [names[c] for c in np.asarray(classes)], np.asarray(scores), np.asarray(boxes), image)


def test_ssd_s_boxes_are_those_of_opencv_s_detection_model() -> None:
    image = photo("obama_and_biden")
    ours = zoo.made("OBJECTS", "ssd", nms=1.0).execute(image)  # the network itself has taken double ones out
    model = cv2.dnn.DetectionModel(file("ssd-mobilenet-v2"), file("ssd-mobilenet-v2-graph"))
    model.setInputParams(size=(300, 300), swapRB=True)
    classes, scores, boxes = model.detect(image, confThreshold=0.25, nmsThreshold=0.45)
    names = {1: "person", 32: "tie", 52: "banana"}  # by COCO's 91 numbers
    compare(ours, [names[c] for c in np.asarray(classes)], np.asarray(scores), np.asarray(boxes), image)


def compare(
    ours: Boxes, labels: list[str], scores: NDArray[np.float64], boxes: NDArray[np.int64], image: Image
) -> None:
    """Find each of *boxes* (x, y, w, h) among *ours*, which are clipped at the edges of *image*; best first.

    OpenCV cuts coordinates where we round them, and counts both edges' pixels: two pixels of difference at most.
    """
    order = np.argsort(-scores, kind="stable")
    assert [b.label for b in ours] == [labels[i] for i in order] != []
    height, width = image.shape[:2]
    for box, index in zip(ours, order, strict=True):
        x, y, w, h = (int(v) for v in boxes[index])
        expected = max(0, x), max(0, y), min(width, x + w), min(height, y + h)
        found = box.x, box.y, box.x + box.w, box.y + box.h
        assert box.score == pytest.approx(float(scores[index]), abs=1e-5)
        assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= 2


def unit(vector: NDArray[np.float32]) -> NDArray[np.float64]:
    flat = np.asarray(vector, np.float64).reshape(-1)
    return flat / np.linalg.norm(flat)


def test_facenet_s_vectors_are_the_network_s_own() -> None:
    """The picture in RGB, its own mean and deviation taken out (prewhitening), as the network was trained."""
    face = np.asarray(cv2.resize(photo("obama2")[130:350, 70:260], (160, 160)), np.uint8)
    recognizer = zoo.made("RECOGNIZERS", "facenet")
    ours = recognizer.execute(Boxes([Box("face", 1.0, 0, 0, 160, 160, crop=face)]))[0]
    network = cv2.dnn.readNetFromTensorflow(file("facenet-casia"))
    deviation = max(float(face.std()), 1 / np.sqrt(face.size))
    network.setInput(cv2.dnn.blobFromImage(face, 1 / deviation, (160, 160), (float(face.mean()),) * 3, swapRB=True))
    np.testing.assert_allclose(ours.embedding, unit(np.asarray(network.forward(), np.float32)), atol=1e-5)


def test_openface_s_vectors_are_the_network_s_own() -> None:
    face = np.asarray(cv2.resize(photo("obama2")[130:350, 70:260], (96, 96)), np.uint8)
    recognizer = zoo.made("RECOGNIZERS", "openface")
    ours = recognizer.execute(Boxes([Box("face", 1.0, 0, 0, 96, 96, crop=face)]))[0]
    network = cv2.dnn.readNetFromTorch(file(zoo.TOY))
    network.setInput(cv2.dnn.blobFromImage(face, 1 / 255, (96, 96), swapRB=True))
    np.testing.assert_allclose(ours.embedding, unit(np.asarray(network.forward(), np.float32)), atol=1e-5)
