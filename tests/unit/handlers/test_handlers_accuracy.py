"""Accuracy on labelled pictures, as docs/handlers.md has it. FACESERVICE_TEST_DATA names the folder with them."""

import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from handlers.types import Box, Boxes, Image
from tests.unit.handlers import zoo

DATA = Path(os.environ.get("FACESERVICE_TEST_DATA", "not-set"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="FACESERVICE_TEST_DATA names no folder of labelled pictures")
PEOPLE, EACH = 4, 5  # of johns: a part, to be fast


def overlap(a: Box, b: Box) -> float:
    wide = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    high = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    shared = max(0, wide) * max(0, high)
    return shared / (a.w * a.h + b.w * b.h - shared)


def labelled() -> Iterator[tuple[Image, list[Box]]]:
    for file in ("testing.xml", "training.xml"):
        for entry in ElementTree.parse(DATA / "dlib_faces" / file).iter("image"):
            image = np.asarray(cv2.imread(str(DATA / "dlib_faces" / entry.attrib["file"])), np.uint8)
            yield image, [truth(b.attrib) for b in entry.iter("box")]


def truth(label: dict[str, str]) -> Box:
    return Box("face", 1.0, int(label["left"]), int(label["top"]), int(label["width"]), int(label["height"]))


def hits(found: Boxes, faces: list[Box]) -> int:
    """Return how many of *faces* are found (IoU > 0.3), each box counting once, best first."""
    left, count = list(faces), 0
    for box in sorted(found, key=lambda b: -b.score):
        best = max(left, key=lambda f: overlap(box, f), default=None)
        if best is not None and overlap(box, best) > 0.3:
            left.remove(best)
            count += 1
    return count


@pytest.mark.parametrize(
    ("detector", "recall", "precision"), [("yunet", 1.0, 0.98), ("mtcnn", 1.0, 0.98), ("hog", 1.0, 1.0)]
)
def test_faces_are_found_as_measured(detector: str, recall: float, precision: float) -> None:
    handler, total, found, right = zoo.made("DETECTORS", detector), 0, 0, 0
    for image, faces in labelled():
        boxes = handler.execute(image)
        total, found, right = total + len(faces), found + len(boxes), right + hits(boxes, faces)
    assert total == 43
    assert right / total >= recall - 0.02 and right / found >= precision - 0.02


@pytest.mark.parametrize(
    ("detector", "recognizer"), [("yunet", "sface"), ("mtcnn", "facenet"), ("yunet", "dlib"), ("hog", "facenet")]
)
def test_pairs_of_faces_are_told_apart_as_measured(detector: str, recognizer: str) -> None:
    find = zoo.made("DETECTORS", detector, with_crop=True, multiple=False)
    model = zoo.made("RECOGNIZERS", recognizer)
    vectors, labels = [], []
    for person in sorted((DATA / "johns").iterdir())[:PEOPLE]:
        for path in sorted(person.iterdir())[:EACH]:
            (box,) = model.execute(find.execute(np.asarray(cv2.imread(str(path)), np.uint8)))
            vectors.append(box.embedding)
            labels.append(person.name)
    stacked, names = np.array(vectors), np.array(labels)
    distances = np.linalg.norm(stacked[:, None] - stacked[None], axis=2)
    upper = np.triu_indices(len(names), 1)
    same = names[upper[0]] == names[upper[1]]
    assert ((distances[upper] <= model.params.thresh) == same).mean() >= 0.995
    np.fill_diagonal(distances, np.inf)
    assert (names[distances.argmin(axis=1)] == names).all()


def test_people_of_a_street_are_found_where_they_are() -> None:
    """Frame 400 of vtest.avi: the nearest person is at about x 692, y 303, w 46, h 107."""
    video = cv2.VideoCapture(str(DATA / "video/vtest.avi"))
    video.set(cv2.CAP_PROP_POS_FRAMES, 400)
    image = np.asarray(video.read()[1], np.uint8)
    for name in zoo.OBJECTS:
        boxes = zoo.made("OBJECTS", name).execute(image)
        assert max(overlap(b, Box("person", 1.0, 692, 303, 46, 107)) for b in boxes if b.label == "person") > 0.6
