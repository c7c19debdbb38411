"""Whatever comes in: any picture, any boxes, any bytes. Handlers answer within the contract, or fail that frame."""

import io
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from handlers.base import Context, FrameError, Handler, load_class, read_params
from handlers.decode import DecodeHandler, DecodeParams
from handlers.detector import shrunk
from handlers.pictures import decode_picture
from handlers.types import Box, Boxes, Encoded, Image
from tests.handler_support import SAMPLES
from tests.unit.handlers import zoo

FEW = settings(max_examples=8, suppress_health_check=list(HealthCheck))
NUMBERS = st.one_of(st.integers(-200, 400), st.integers(-(2**62), 2**62))
FACES = [("DETECTORS", name) for name in zoo.DETECTORS]
SEARCHED = 110_000  # pixels that detectors look at in these tests
JPEG = (SAMPLES / "photos/obama2.jpg").read_bytes()


@st.composite
def pictures(draw: st.DrawFn) -> Image:
    """Any uint8 picture of up to 60 x 90 pixels, read-only as frames are."""
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 90))
    top = draw(st.integers(0, 255))
    image = np.random.default_rng(draw(st.integers(0, 99))).integers(0, top + 1, (height, width, 3), np.uint8)
    image.flags.writeable = False
    return image


@st.composite
def boxes(draw: st.DrawFn) -> Boxes:
    """Boxes anywhere, of any size, with or without a crop that need not be theirs."""
    found = Boxes()
    for _ in range(draw(st.integers(0, 3))):
        x, y, w, h = (draw(NUMBERS) for _ in range(4))
        crop = draw(st.one_of(st.none(), pictures()))
        left, top = (draw(NUMBERS), draw(NUMBERS)) if draw(st.booleans()) else (x, y)
        label, score = draw(st.text(max_size=5)), draw(st.floats(allow_nan=False))
        found.append(Box(label, score, x, y, w, h, crop=crop, crop_x=left, crop_y=top))
    return found


def simple(name: str, **params: Any) -> Handler[Any]:
    cls = load_class(f"handlers.{name}")
    handler = cls(read_params(cls, params), Context(SAMPLES))
    handler.prepare()
    return handler


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("resize:ResizeHandler", {}),
        ("resize:ResizeHandler", {"width": 0, "height": 7}),
        ("motion:MotionHandler", {}),
        ("render:RenderHandler", {}),
        ("encode:EncodeHandler", {}),
    ],
)
@FEW
@given(image=pictures())
def test_pictures_become_pictures(name: str, params: dict[str, Any], image: Image) -> None:
    given_ = image.copy()
    made = simple(name, **params).execute(image)
    if isinstance(made, Encoded):
        assert decode_picture(made.data).shape == image.shape
    elif made is not None:
        assert made.dtype == np.uint8 and made.ndim == 3 and made.shape[2] == 3 and made.size
    assert (image == given_).all(), "frames are shared: nobody changes them"


@pytest.mark.parametrize("name", ["draw_boxes:DrawBoxesHandler", "draw_labeled_boxes:DrawLabeledBoxesHandler"])
@FEW
@given(image=pictures(), found=boxes())
def test_boxes_outside_the_picture_are_drawn_where_they_are_seen(name: str, image: Image, found: Boxes) -> None:
    drawn = simple(name).execute(image, found)
    assert drawn.shape == image.shape and drawn.dtype == np.uint8


@FEW
@given(frames=st.lists(boxes(), min_size=1, max_size=4))
def test_any_boxes_are_tracked(frames: list[Boxes]) -> None:
    track = simple("track:TrackHandler")
    for found in frames:
        assert all(b.track_id is not None and b.track_id >= 1 for b in track.execute(found))


@pytest.mark.parametrize("name", zoo.RECOGNIZERS)
@FEW
@given(found=boxes())
def test_any_boxes_are_recognized_or_fail_their_frame(name: str, found: Boxes) -> None:
    recognize = zoo.made("RECOGNIZERS", name)
    try:
        named = recognize.execute(found)
    except FrameError:
        return
    for before, box in zip(found, named, strict=True):
        assert (box.x, box.y, box.w, box.h) == (before.x, before.y, before.w, before.h)
        assert box.embedding is not None and np.isfinite(box.embedding).all()


@pytest.mark.parametrize(
    "box",
    [
        Box("face", 1.0, 500, 500, 20, 20, crop=np.zeros((30, 30, 3), np.uint8), crop_x=0, crop_y=0),
        Box("face", 1.0, 0, 0, 10**9, 10**9, crop=np.zeros((30, 30, 3), np.uint8), crop_x=0, crop_y=0),
        Box("face", 1.0, 0, 0, -5, 10, crop=np.zeros((30, 30, 3), np.uint8), crop_x=0, crop_y=0),
        Box("face", 1.0, 0, 0, 0, 0, crop=np.zeros((30, 30, 3), np.uint8), crop_x=0, crop_y=0),
    ],
    ids=["elsewhere", "giant", "negative", "empty"],
)
@pytest.mark.parametrize("name", zoo.RECOGNIZERS)
def test_a_box_that_does_not_lie_in_its_crop_fails_its_frame(name: str, box: Box) -> None:
    with pytest.raises(FrameError, match="does not lie in it"):
        zoo.made("RECOGNIZERS", name).execute(Boxes([box]))


@pytest.mark.parametrize(("group", "name"), FACES)
@FEW
@given(found=boxes())
def test_a_detector_behind_a_detector_takes_any_boxes(group: str, name: str, found: Boxes) -> None:
    try:
        inner = zoo.made(group, name).execute(found)
    except FrameError:
        assert any(b.crop is None for b in found)
        return
    assert all(b.w > 0 and b.h > 0 for b in inner)


DECODE = DecodeHandler(DecodeParams(), Context(SAMPLES))


@settings(max_examples=150)
@given(data=st.binary(max_size=300), place=st.integers(0, len(JPEG)), cut=st.integers(0, len(JPEG)))
def test_any_bytes_are_a_picture_or_fail_their_frame(data: bytes, place: int, cut: int) -> None:
    for mutated in (data, JPEG[:place] + data + JPEG[place + len(data) :], JPEG[:cut]):
        try:
            image = DECODE.execute(Encoded(mutated))
        except FrameError:
            continue
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size


def place(found: Boxes) -> tuple[int, int, int, int]:
    (box,) = found
    return box.x, box.y, box.w, box.h


def near(a: tuple[int, ...], b: tuple[int, ...], by: float) -> bool:
    return all(abs(i - j) <= by for i, j in zip(a, b, strict=True))


def saved(image: Pillow.Image, kind: str, **options: object) -> Encoded:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Encoded(file.getvalue(), f"image/{kind.lower()}")


def kinds_of(rgb: Pillow.Image) -> dict[str, Encoded]:
    """Return the same photo as files of many kinds; the turned ones are turned back by their EXIF orientation."""
    grey = np.asarray(rgb.convert("L"))
    sixteen = cv2.imencode(".png", grey.astype(np.uint16) * 257)[1].tobytes()
    deep = cv2.imencode(".png", np.asarray(rgb)[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
    turns = {3: Pillow.Transpose.ROTATE_180, 6: Pillow.Transpose.ROTATE_90, 8: Pillow.Transpose.ROTATE_270}
    made = {
        "rgba": saved(rgb.convert("RGBA"), "PNG"),
        "grey": saved(rgb.convert("L"), "PNG"),
        "grey jpeg": saved(rgb.convert("L"), "JPEG", quality=95),
        "16 bit grey": Encoded(sixteen, "image/png"),
        "16 bit": Encoded(deep, "image/png"),
        "palette": saved(rgb.quantize(256), "PNG"),
    }
    for orientation, turn in turns.items():
        exif = Pillow.Exif()
        exif[0x0112] = orientation
        made[f"exif {orientation}"] = saved(rgb.transpose(turn), "JPEG", quality=95, exif=exif)
    return made


@pytest.mark.parametrize(("group", "name"), FACES)
def test_a_photo_of_any_kind_shows_the_same_face_in_the_same_place(group: str, name: str) -> None:
    """Boxes are in pixels of the upright picture, as viewers show it."""
    detect = zoo.made(group, name, multiple=False)
    rgb = Pillow.open(io.BytesIO(JPEG)).convert("RGB")
    expected = place(detect.execute(DECODE.execute(saved(rgb, "PNG"))))
    kinds = kinds_of(rgb)
    for kind in kinds if name != "mmod" else ("exif 6",):  # which takes a second and more for each
        image = DECODE.execute(kinds[kind])
        assert image.shape == (rgb.height, rgb.width, 3), kind
        assert near(place(detect.execute(image)), expected, 0.12 * expected[2]), kind


@pytest.mark.parametrize(("group", "name"), FACES)
def test_a_giant_picture_is_searched_at_a_smaller_size(group: str, name: str) -> None:
    """8K: boxes, crops and landmarks are in pixels of the giant picture, and the work is bounded by `max_pixels`."""
    photo = np.asarray(cv2.imread(str(SAMPLES / "photos/biden2.jpg")), np.uint8)
    small = cv2.resize(photo, (387, 432), interpolation=cv2.INTER_AREA)
    scene = np.full((432, 768, 3), 90, np.uint8)
    scene[:, 100 : 100 + 387] = small
    detect = zoo.made(group, name, multiple=False, with_crop=True, max_pixels=SEARCHED)
    before = detect.execute(scene)[0]
    giant = cv2.resize(scene, (7680, 4320), interpolation=cv2.INTER_NEAREST)
    box = detect.execute(giant)[0]
    assert near((box.x, box.y, box.w, box.h), tuple(10 * v for v in place(Boxes([before]))), 250)
    assert box.crop is not None and box.crop_x is not None and box.crop_y is not None
    high, wide = box.crop.shape[:2]
    assert (box.crop == giant[box.crop_y : box.crop_y + high, box.crop_x : box.crop_x + wide]).all()
    if box.landmarks is not None:
        assert (box.landmarks >= [box.x, box.y]).all() and (box.landmarks <= [box.x + box.w, box.y + box.h]).all()


@pytest.mark.parametrize(("group", "name"), FACES)
def test_nobody_is_seen_where_nobody_is(group: str, name: str) -> None:
    sky = np.tile(np.linspace(60, 200, 240).astype(np.uint8)[:, None, None], (1, 320, 3))
    assert zoo.made(group, name, with_crop=True).execute(sky) == []


@pytest.mark.parametrize(
    ("size", "limit", "expected"),
    [((640, 480), None, (640, 480)), ((640, 480), 307_200, (640, 480)), ((7680, 4320), 8_294_400, (3840, 2160))],
)
def test_pictures_shrink_in_their_proportions(size: tuple[int, int], limit: int | None, expected: object) -> None:
    assert shrunk(*size, limit) == expected
    assert shrunk(1, 10**6, 10_000)[0] >= 1 and np.prod(shrunk(1, 10**6, 10_000)) <= 10_000
