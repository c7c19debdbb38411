"""Haar and HOG: the boxes of OpenCV's and face_recognition's own calls, with crops, on any picture."""

import subprocess
import sys
from typing import Any

import cv2
import cv2.data
import face_recognition
import numpy as np
import pytest

from handlers.base import FrameError, Handler
from handlers.detector import with_crop
from handlers.haar_detect_face import HaarDetectFaceHandler
from handlers.hog_detect_face import HogDetectFaceHandler
from handlers.types import Box, Boxes, Image
from tests.handler_support import Make

BOTH = pytest.mark.parametrize("cls", [HaarDetectFaceHandler, HogDetectFaceHandler])


def places(boxes: Boxes) -> list[tuple[int, int, int, int]]:
    return [(b.x, b.y, b.w, b.h) for b in boxes]


@pytest.mark.parametrize("name", ["astronaut", "biden2", "obama2", "obama3", "obama_and_biden"])
@pytest.mark.parametrize("upsample", [0, 1])
def test_hog_gives_the_boxes_of_face_recognition(
    make: Make, photos: dict[str, Image], name: str, upsample: int
) -> None:
    rgb = np.ascontiguousarray(photos[name][..., ::-1])
    theirs = face_recognition.face_locations(rgb, number_of_times_to_upsample=upsample, model="hog")
    ours = make(HogDetectFaceHandler, upsample=upsample).execute(photos[name])
    assert places(ours) == [(left, top, right - left, bottom - top) for top, right, bottom, left in theirs]


def test_hog_clips_at_the_edges_as_face_recognition_does(make: Make, photos: dict[str, Image]) -> None:
    image = photos["biden2"]
    face = make(HogDetectFaceHandler).execute(image)[0]
    cut = np.ascontiguousarray(image[face.y + 12 :, face.x + 12 :])
    (top, right, bottom, left) = face_recognition.face_locations(np.ascontiguousarray(cut[..., ::-1]))[0]
    assert places(make(HogDetectFaceHandler).execute(cut)) == [(left, top, right - left, bottom - top)]
    assert top == 0 or left == 0


def test_haar_gives_the_boxes_of_opencv(make: Make, photos: dict[str, Image]) -> None:
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    grey = cv2.equalizeHist(cv2.cvtColor(photos["obama3"], cv2.COLOR_BGR2GRAY))
    theirs = cascade.detectMultiScale(grey, 1.2, 4, minSize=(40, 40))
    ours = make(HaarDetectFaceHandler, scale_factor=1.2, min_neighbors=4, min_size=40).execute(photos["obama3"])
    assert places(ours) == [tuple(int(v) for v in box) for box in theirs] and ours
    assert all(b.score >= 4 for b in ours)


def test_both_find_both_people(make: Make, photos: dict[str, Image]) -> None:
    for cls in (HaarDetectFaceHandler, HogDetectFaceHandler):
        boxes = make(cls).execute(photos["obama_and_biden"])
        middles = [b.x + b.w / 2 for b in boxes if b.w > 100]
        assert sorted(m > 320 for m in middles) == [False, True]


@BOTH
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (19, 19, 3), (3, 3, 3)])
def test_pictures_smaller_than_a_face_have_none(
    make: Make, cls: type[Handler[Any]], shape: tuple[int, int, int]
) -> None:
    assert make(cls, with_crop=True).execute(np.zeros(shape, np.uint8)) == []


@BOTH
def test_only_the_largest_when_one_is_asked_for(make: Make, cls: type[Handler[Any]], photos: dict[str, Image]) -> None:
    every = make(cls).execute(photos["obama_and_biden"])
    one = make(cls, multiple=False).execute(photos["obama_and_biden"])
    assert len(every) > 1 and len(one) == 1
    assert one[0].w * one[0].h == max(b.w * b.h for b in every)


@BOTH
def test_crops_are_the_frame_around_the_box(make: Make, cls: type[Handler[Any]], photos: dict[str, Image]) -> None:
    image = photos["biden2"]
    for box in make(cls, with_crop=True).execute(image):
        assert box.crop is not None
        height, width = box.crop.shape[:2]
        assert (box.crop == image[box.crop_y : box.crop_y + height, box.crop_x : box.crop_x + width]).all()
        assert (box.crop_x, box.crop_y) == (max(0, box.x - box.w), max(0, box.y - box.h))
        assert width == min(image.shape[1], box.x + 2 * box.w) - box.crop_x


@BOTH
def test_a_detector_behind_a_detector_looks_inside_its_crops(
    make: Make, cls: type[Handler[Any]], photos: dict[str, Image]
) -> None:
    image = photos["obama_and_biden"]
    left_half = with_crop(Box("person", 1.0, 40, 10, 220, 300), image)
    boxes = make(cls, with_crop=True).execute(Boxes([left_half]))
    assert [b for b in boxes if b.w > 100] and all(40 <= b.x + b.w / 2 < 260 for b in boxes)
    for b in boxes:
        assert b.crop is not None
        inner = b.crop[b.y - b.crop_y : b.y - b.crop_y + b.h, b.x - b.crop_x : b.x - b.crop_x + b.w]
        assert (inner == image[b.y : b.y + b.h, b.x : b.x + b.w]).all()
    with pytest.raises(FrameError, match="with_crop"):
        make(cls).execute(Boxes([Box("person", 1.0, 0, 0, 9, 9)]))


def test_a_hog_process_stays_light() -> None:
    """No model file is read, face_recognition is not imported: under 100 MB where its import takes 143 and more."""
    code = (
        "import sys, numpy as np, pathlib\n"
        "from handlers.base import Context\n"
        "from handlers.hog_detect_face import HogDetectFaceHandler as H, HogDetectFaceParams as P\n"
        "assert 'dlib' not in sys.modules, 'loaded by the import'\n"
        "h = H(P(), Context(pathlib.Path('none'))); h.prepare(); h.execute(np.zeros((480, 640, 3), np.uint8))\n"
        "assert not {'face_recognition', 'face_recognition_models', 'requests', 'rich'} & set(sys.modules)\n"
        "import psutil; print(psutil.Process().memory_info().rss >> 20)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100
