"""DlibAlignRecognize: the distances of face_recognition's own calls, computed within crops."""

from pathlib import Path

import face_recognition
import numpy as np
import pytest

from handlers.base import Context, FrameError, Unavailable, read_params
from handlers.codec import from_part, to_part
from handlers.dlib_align_recognize import DlibAlignRecognizeHandler
from handlers.draw_boxes import DrawBoxesHandler
from handlers.draw_labeled_boxes import DrawLabeledBoxesHandler
from handlers.haar_detect_face import HaarDetectFaceHandler
from handlers.hog_detect_face import HogDetectFaceHandler
from handlers.types import Box, Boxes, Image
from tests.handler_support import SAMPLES, Make

GALLERY = SAMPLES / "gallery"
PHOTOS = ["astronaut", "biden2", "obama2", "obama3", "obama_and_biden"]
EXPECTED = {
    "astronaut": ["unknown"],
    "biden2": ["biden"],
    "obama2": ["obama"],
    "obama3": ["obama"],
    "obama_and_biden": ["obama", "biden"],
}


def enrolled(model: str) -> dict[str, np.ndarray]:
    """Return the gallery's vectors by face_recognition alone (each picture has one face)."""
    found = {}
    for path in sorted(GALLERY.glob("*/*.jpg")):
        image = face_recognition.load_image_file(path)
        found[path.parent.name] = face_recognition.face_encodings(
            image, face_recognition.face_locations(image), num_jitters=1, model=model
        )[0]
    return found


@pytest.mark.parametrize(("predictor", "model"), [("5", "small"), ("68", "large")])
def test_distances_are_those_of_face_recognition(
    make: Make, photos: dict[str, Image], predictor: str, model: str
) -> None:
    known = enrolled(model)
    detect = make(HogDetectFaceHandler, with_crop=True)
    recognize = make(DlibAlignRecognizeHandler, gallery=GALLERY, predictor=predictor)
    for name in PHOTOS:
        rgb = np.ascontiguousarray(photos[name][..., ::-1])
        places = face_recognition.face_locations(rgb, number_of_times_to_upsample=1, model="hog")
        theirs = face_recognition.face_encodings(rgb, known_face_locations=places, num_jitters=1, model=model)
        ours = recognize.execute(detect.execute(photos[name]))
        assert len(ours) == len(theirs) > 0
        for box, vector in zip(ours, theirs, strict=True):
            distances = face_recognition.face_distance(list(known.values()), vector)
            assert box.distance == pytest.approx(distances.min(), abs=1e-9)
            np.testing.assert_allclose(box.embedding, vector, atol=1e-9)
            nearest = list(known)[int(distances.argmin())]
            assert box.label == (nearest if distances.min() <= 0.6 else "unknown")


@pytest.mark.parametrize("name", PHOTOS)
def test_the_people_of_the_samples_get_their_names(make: Make, photos: dict[str, Image], name: str) -> None:
    for detector in (HogDetectFaceHandler, HaarDetectFaceHandler):
        found = make(detector, with_crop=True).execute(photos[name])
        named = make(DlibAlignRecognizeHandler, gallery=GALLERY).execute(found)
        people = [b.label for b in sorted(named, key=lambda b: b.x) if b.label != "unknown"]
        assert people == [label for label in EXPECTED[name] if label != "unknown"]
        assert "unknown" not in EXPECTED[name] or any(b.label == "unknown" and b.distance > 0.6 for b in named)


def test_results_carry_vectors_and_landmarks_in_the_frame_and_no_crops(make: Make, photos: dict[str, Image]) -> None:
    found = make(HogDetectFaceHandler, with_crop=True).execute(photos["obama_and_biden"])
    named = make(DlibAlignRecognizeHandler, gallery=GALLERY).execute(found)
    for before, box in zip(found, named, strict=True):
        assert (box.crop, box.crop_x, box.score) == (None, None, before.score)
        assert box.embedding is not None and (box.embedding.shape, box.embedding.dtype) == ((128,), np.float64)
        assert box.landmarks is not None and (box.landmarks.shape, box.landmarks.dtype) == ((5, 2), np.int32)
        inside = (box.landmarks >= [box.x, box.y]) & (box.landmarks <= [box.x + box.w, box.y + box.h])
        assert inside.all()


def test_boxes_survive_the_way_through_a_packet(make: Make, photos: dict[str, Image]) -> None:
    found = make(HogDetectFaceHandler, with_crop=True).execute(photos["obama2"])
    part, buffers = to_part(found)
    received = from_part(part, [memoryview(b) for b in buffers])
    recognize = make(DlibAlignRecognizeHandler, gallery=GALLERY)
    assert recognize.execute(received)[0].distance == recognize.execute(found)[0].distance


@pytest.mark.parametrize("folder", [None, "empty", "missing"])
def test_without_a_gallery_everybody_is_unknown(
    make: Make, photos: dict[str, Image], tmp_path: Path, folder: str | None
) -> None:
    (tmp_path / "empty").mkdir()
    found = make(HogDetectFaceHandler, with_crop=True).execute(photos["obama2"])
    recognize = make(DlibAlignRecognizeHandler, gallery=None if folder is None else tmp_path / folder)
    assert [(b.label, b.distance) for b in recognize.execute(found)] == [("unknown", None)]


def test_thresh_decides_who_is_unknown_and_the_distance_stays(make: Make, photos: dict[str, Image]) -> None:
    found = make(HogDetectFaceHandler, with_crop=True).execute(photos["obama2"])
    strict = make(DlibAlignRecognizeHandler, gallery=GALLERY, thresh=0.2).execute(found)[0]
    lax = make(DlibAlignRecognizeHandler, gallery=GALLERY).execute(found)[0]
    assert (strict.label, lax.label, strict.distance) == ("unknown", "obama", lax.distance)


def test_no_faces_and_faces_without_crops(make: Make) -> None:
    recognize = make(DlibAlignRecognizeHandler)
    assert recognize.execute(Boxes()) == []
    with pytest.raises(FrameError, match="with_crop"):
        recognize.execute(Boxes([Box("face", 1.0, 0, 0, 10, 10)]))


def test_a_box_that_is_no_face_does_not_harm(make: Make) -> None:
    crop = np.zeros((1, 1, 3), np.uint8)
    box = Box("face", 1.0, 5, 5, 1, 1, crop=crop, crop_x=5, crop_y=5)
    assert make(DlibAlignRecognizeHandler, gallery=GALLERY).execute(Boxes([box]))[0].label == "unknown"


def test_what_cannot_run_says_why_before_anything_is_loaded(model_path: Path) -> None:
    read = read_params(DlibAlignRecognizeHandler, {"model": "no-such-model"})
    with pytest.raises(Unavailable, match="no-such-model"):
        DlibAlignRecognizeHandler.check(read, Context(model_path))


def test_a_missing_or_cut_off_model_is_named_with_the_way_to_get_it(tmp_path: Path) -> None:
    params = read_params(DlibAlignRecognizeHandler, {})
    with pytest.raises(Unavailable, match=r"python3 -m handlers\.models fetch"):
        DlibAlignRecognizeHandler.check(params, Context(tmp_path))
    (tmp_path / "shape_predictor_5_face_landmarks.dat").write_bytes(b"short")
    with pytest.raises(Unavailable, match="5 bytes, not 9150489"):
        DlibAlignRecognizeHandler.check(params, Context(tmp_path))


def test_drawing_marks_the_boxes_on_a_copy(make: Make, photos: dict[str, Image]) -> None:
    image = photos["obama2"]
    before = image.copy()
    boxes = Boxes([Box("obama", 1.0, 81, 150, 155, 155, distance=0.37), Box("unknown", 1.0, -20, -20, 5000, 5000)])
    plain = make(DrawBoxesHandler).execute(image, boxes)
    labeled = make(DrawLabeledBoxesHandler).execute(image, boxes)
    assert (image == before).all() and plain.shape == labeled.shape == image.shape
    assert (plain[150, 81:236] == plain[150, 81]).all() and (plain[150, 81] != image[150, 81]).any()
    assert (labeled[130:149, 85:120] != plain[130:149, 85:120]).any()  # the caption above the box
    assert (make(DrawBoxesHandler).execute(image, Boxes()) == image).all()


def test_drawing_on_a_single_pixel(make: Make) -> None:
    drawn = make(DrawLabeledBoxesHandler).execute(np.zeros((1, 1, 3), np.uint8), Boxes([Box("x", 1.0, 0, 0, 1, 1)]))
    assert drawn.shape == (1, 1, 3)
