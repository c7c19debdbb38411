"""Photos of every kind and size, posted to a session: 8K, 16 bits, alpha, grey, turned by EXIF."""

import io
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from tests.conftest import Cluster
from tests.daemons import ROOT
from tests.e2e.live_session import SPLIT, LiveSession, opened

PHOTO = ROOT / "samples/photos/obama2.jpg"


@pytest.fixture(scope="module")
def session(shared_cluster: Cluster) -> Iterator[LiveSession]:
    if not (ROOT / "models/face_recognition_sface_2021dec_int8bq.onnx").is_file():
        pytest.skip("YuNet and SFace are not there: scripts/setup --models basic")
    yield from opened(shared_cluster.url, "face_recognition", variant="yunet_sface", pin=SPLIT)


def saved(picture: Pillow.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def of_every_kind() -> dict[str, bytes]:
    rgb = Pillow.open(PHOTO).convert("RGB")
    exif = Pillow.Exif()
    exif[0x0112] = 6  # the camera was held upright, the pixels lie on their side
    return {
        "16 bit": cv2.imencode(".png", np.asarray(rgb)[..., ::-1].astype(np.uint16) * 257)[1].tobytes(),
        "alpha": saved(rgb.convert("RGBA"), "PNG"),
        "grey": saved(rgb.convert("L"), "PNG"),
        "turned": saved(rgb.transpose(Pillow.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif),
    }


def test_a_photo_of_any_kind_shows_the_same_person_in_the_same_place(session: LiveSession) -> None:
    """Boxes are in pixels of the upright picture."""
    (expected,) = session.post(PHOTO.read_bytes()).json()["boxes"]
    for kind, data in of_every_kind().items():
        answer = session.post(data, "image/png" if data[:1] == b"\x89" else "image/jpeg")
        assert answer.status_code == 200, (kind, answer.text)
        (box,) = answer.json()["boxes"]
        assert box["label"] == "obama", kind
        assert max(abs(box[side] - expected[side]) for side in "xywh") <= 12, (kind, box, expected)


def test_an_8k_picture_is_answered(session: LiveSession) -> None:
    """It is searched at a smaller size; the face is in pixels of the large picture."""
    scene = np.full((432, 768, 3), 90, np.uint8)
    photo = np.asarray(cv2.imread(str(PHOTO)), np.uint8)
    scene[:, 200:425] = cv2.resize(photo, (225, 432), interpolation=cv2.INTER_AREA)
    giant = cv2.resize(scene, (7680, 4320), interpolation=cv2.INTER_LINEAR)
    answer = session.post(cv2.imencode(".jpg", giant)[1].tobytes())
    assert answer.status_code == 200, answer.text
    (box,) = answer.json()["boxes"]
    assert box["label"] == "obama"
    assert 2000 < box["x"] < box["x"] + box["w"] < 4250 and box["w"] > 700


def test_a_single_pixel_shows_nobody(session: LiveSession) -> None:
    answer = session.post(saved(Pillow.new("RGB", (1, 1)), "PNG"), "image/png")
    assert (answer.status_code, answer.json()["boxes"]) == (200, [])
