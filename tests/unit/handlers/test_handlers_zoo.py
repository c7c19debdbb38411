"""Every detector suits every recognizer; results are those of the libraries; no picture breaks a detector."""

from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handlers.base import Context, FrameError, Unavailable, load_class, read_params
from handlers.codec import from_part, to_part
from handlers.dlib_align import DlibAlignHandler, DlibAlignParams
from handlers.types import Box, Boxes, Image
from tests.handler_support import SAMPLES
from tests.unit.handlers import zoo

PEOPLE = {"obama2": "obama", "biden2": "biden"}
FACES = [("DETECTORS", name) for name in zoo.DETECTORS]
ALL = FACES + [("OBJECTS", name) for name in zoo.OBJECTS]


@cache
def photo(name: str) -> Image:
    image = np.asarray(cv2.imread(str(SAMPLES / f"photos/{name}.jpg")), np.uint8)
    image.flags.writeable = False
    return image


@cache
def face(detector: str, name: str) -> Box:
    """Return the largest face, as it arrives at another node."""
    part, buffers = to_part(zoo.made("DETECTORS", detector, with_crop=True, multiple=False).execute(photo(name)))
    (box,) = from_part(part, [memoryview(b).toreadonly() for b in buffers])
    assert isinstance(box, Box)
    return box


@pytest.mark.parametrize("recognizer", zoo.RECOGNIZERS)
@pytest.mark.parametrize("detector", zoo.DETECTORS)
def test_every_detector_suits_every_recognizer(detector: str, recognizer: str) -> None:
    model = zoo.made("RECOGNIZERS", recognizer)
    named = {name: model.execute(Boxes([face(detector, name)]))[0] for name in PEOPLE}
    for name, box in named.items():
        assert box.embedding is not None and box.distance is not None and box.crop is None
        if recognizer != "openface":  # whose small network knows nobody
            assert (box.label, box.distance < model.params.thresh) == (PEOPLE[name], True)


@pytest.mark.parametrize("detector", zoo.DETECTORS)
def test_crops_keep_the_contract(detector: str) -> None:
    image, box = photo("obama2"), face(detector, "obama2")
    assert box.crop is not None and box.crop_x is not None and box.crop_y is not None
    height, width = box.crop.shape[:2]
    assert (box.crop == image[box.crop_y : box.crop_y + height, box.crop_x : box.crop_x + width]).all()
    assert (box.crop_x, box.crop_y) == (max(0, box.x - box.w), max(0, box.y - box.h))
    assert (width, height) == (
        min(image.shape[1], box.x + 2 * box.w) - box.crop_x,
        min(image.shape[0], box.y + 2 * box.h) - box.crop_y,
    )
    if box.landmarks is not None:
        assert (box.landmarks >= [box.x, box.y]).all() and (box.landmarks <= [box.x + box.w, box.y + box.h]).all()


def test_yunet_and_sface_are_opencv_s_own_calls() -> None:
    detector, recognizer = zoo.made("DETECTORS", "yunet", with_crop=True), zoo.made("RECOGNIZERS", "sface")
    image = photo("obama_and_biden")
    files = zoo.folder()
    theirs = cv2.FaceDetectorYN.create(str(files / "face_detection_yunet_2023mar_int8bq.onnx"), "", (320, 320), 0.6)
    theirs.setInputSize((image.shape[1], image.shape[0]))
    rows = theirs.detect(image)[1]
    network = cv2.FaceRecognizerSF.create(str(files / "face_recognition_sface_2021dec_int8bq.onnx"), "")
    ours = recognizer.execute(detector.execute(image))
    assert len(ours) == len(rows) == 2
    for box, row in zip(ours, rows, strict=True):
        assert (box.x, box.y, box.w, box.h) == tuple(int(v) for v in row[:4])
        vector = network.feature(network.alignCrop(image, row))[0]
        np.testing.assert_allclose(box.embedding, vector / np.linalg.norm(vector), atol=1e-5)


def test_mmod_is_face_recognition_s_own_call() -> None:
    import dlib

    image, path = photo("biden2"), zoo.folder() / "mmod_human_face_detector.dat"
    ours = zoo.made("DETECTORS", "mmod").execute(image)
    theirs = dlib.cnn_face_detection_model_v1(str(path))(np.ascontiguousarray(image[..., ::-1]), 0)
    assert [(b.x, b.y, b.x + b.w, b.y + b.h) for b in ours] == [
        (
            max(0, f.rect.left()),
            max(0, f.rect.top()),
            min(image.shape[1], f.rect.right()),
            min(image.shape[0], f.rect.bottom()),
        )
        for f in theirs
    ]
    assert ours


def test_faces_cut_out_by_the_detector_are_those_the_recognizer_cuts() -> None:
    """Handler 12 with align in front of 15 gives the same vectors, with fewer bytes between them."""
    recognizer = zoo.made("RECOGNIZERS", "facenet")
    cut = zoo.made("DETECTORS", "mtcnn", with_crop=True, align=True).execute(photo("obama2"))
    whole = zoo.made("DETECTORS", "mtcnn", with_crop=True).execute(photo("obama2"))
    assert [b.crop.shape for b in cut] == [(160, 160, 3)] and cut[0].crop_x is None
    np.testing.assert_allclose(recognizer.execute(cut)[0].embedding, recognizer.execute(whole)[0].embedding, atol=1e-6)
    with pytest.raises(FrameError, match="aligned"):
        zoo.made("RECOGNIZERS", "sface").execute(cut)


@pytest.mark.parametrize("indices", ["outer_eyes_and_nose", "inner_eyes_and_bottom_lip"])
def test_faces_aligned_elsewhere_give_openface_s_vectors(indices: str) -> None:
    recognizer = zoo.made("RECOGNIZERS", "openface", indices=indices)
    params = read_params(DlibAlignHandler, {"indices": indices})
    assert isinstance(params, DlibAlignParams)
    aligner = DlibAlignHandler(params, Context(zoo.folder()))
    aligner.prepare()
    box = face("hog", "obama2")
    aligned = aligner.execute(Boxes([box]))
    assert aligned[0].crop is not None and aligned[0].crop.shape == (96, 96, 3)
    direct, split = recognizer.execute(Boxes([box]))[0], recognizer.execute(aligned)[0]
    np.testing.assert_allclose(split.embedding, direct.embedding, atol=1e-6)
    assert direct.embedding is not None and np.linalg.norm(direct.embedding) == pytest.approx(1)
    assert (split.landmarks == direct.landmarks).all() and direct.landmarks is not None
    assert direct.landmarks.shape == (68, 2)


@pytest.mark.parametrize(("group", "name"), ALL)
@settings(max_examples=6, suppress_health_check=list(HealthCheck))
@given(height=st.integers(1, 60), width=st.integers(1, 90), seed=st.integers(0, 9), level=st.integers(0, 255))
def test_any_picture_gives_boxes_inside_it(
    group: str, name: str, height: int, width: int, seed: int, level: int
) -> None:
    image = np.random.default_rng(seed).integers(0, level + 1, (height, width, 3), np.uint8)
    for box in zoo.made(group, name).execute(image):
        assert box.x >= 0 and box.y >= 0 and box.w > 0 and box.h > 0
        assert box.x + box.w <= width and box.y + box.h <= height


@pytest.mark.parametrize(("group", "name"), ALL)
@pytest.mark.parametrize("bad", ["grey", "alpha", "sixteen", "empty"])
def test_what_is_no_picture_fails_its_frame(group: str, name: str, bad: str) -> None:
    pictures = {
        "grey": np.zeros((50, 50), np.uint8),
        "alpha": np.zeros((50, 50, 4), np.uint8),
        "sixteen": np.zeros((50, 50, 3), np.uint16),
        "empty": np.zeros((0, 50, 3), np.uint8),
    }
    with pytest.raises(FrameError):
        zoo.made(group, name).execute(pictures[bad])


@pytest.mark.parametrize("detector", zoo.DETECTORS)
@pytest.mark.parametrize("recognizer", zoo.RECOGNIZERS)
def test_a_face_at_the_very_edge_is_recognized_or_not_but_harms_nobody(detector: str, recognizer: str) -> None:
    whole = face(detector, "obama2")
    cut = np.ascontiguousarray(photo("obama2")[whole.y + whole.h // 4 :, whole.x + whole.w // 8 :])
    found = zoo.made("DETECTORS", detector, with_crop=True).execute(cut) if detector != "mmod" else Boxes()
    zoo.made("RECOGNIZERS", recognizer).execute(found)
    dot = Box("face", 1.0, 5, 5, 1, 1, crop=np.zeros((1, 1, 3), np.uint8), crop_x=5, crop_y=5)
    assert zoo.made("RECOGNIZERS", recognizer).execute(Boxes([dot]))[0].embedding is not None


@pytest.mark.parametrize(("group", "name"), [g for g in ALL if g[1] not in ("haar", "hog")])
def test_a_missing_model_is_named_with_the_way_to_get_it(group: str, name: str) -> None:
    where, params = getattr(zoo, group)[name]
    cls = load_class(f"handlers.{where}")
    with pytest.raises(Unavailable, match=r"python3 -m handlers\.models fetch"):
        cls.check(read_params(cls, params), Context(SAMPLES))


def test_gpu_and_targets_are_refused_with_the_reason() -> None:
    context = Context(zoo.folder())
    zoo.made("OBJECTS", "yolo")
    zoo.made("OBJECTS", "nanodet")
    onnx = load_class("handlers.onnx_detect_object:OnnxDetectObjectHandler")
    with pytest.raises(Unavailable, match="gpu: this onnxruntime has no CUDA"):
        onnx(read_params(onnx, {"gpu": True}), context).prepare()
    for params, why in (({"gpu": True}, "CUDA"), ({"targets": ["unicorn"]}, "unicorn")):
        cls = load_class("handlers.yolo_detect_object:YoloDetectObjectHandler")
        with pytest.raises(Unavailable, match=why):
            cls.check(read_params(cls, params), context)
