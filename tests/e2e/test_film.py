"""A film with people whose names and places are known in every frame, through face_recognition over two nodes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from client import FaceClient
from client.results import Found
from client.sources import expand, frames
from tests.conftest import Cluster
from tests.daemons import ROOT
from tests.e2e.live_session import SPLIT

Picture = NDArray[np.uint8]  # (H, W, 3), BGR
Rectangle = tuple[float, float, float, float]  # x, y, w, h

FRAMES, FPS, WIDTH, HEIGHT = 36, 12, 640, 360
FACE = 110  # pixels: height of a face on the film
AROUND = 0.45  # how much of the photo around the face is pasted too, in face sides
ENOUGH = 0.5  # overlap (intersection by union) of a found face with the place where it was pasted
PHOTOS = {  # photo -> the face in it, forehead to chin, as a person sees it: x, y, w, h
    "obama2": (105, 125, 150, 208),
    "biden2": (142, 95, 166, 226),
    "astronaut": (140, 68, 88, 106),
}


@dataclass(frozen=True)
class Part:
    """Somebody's way across the film: the middle of the face moves in a straight line from *start* to *end*."""

    photo: str
    name: str  # by which the gallery knows them
    first: int
    last: int  # frame, included
    start: tuple[float, float]
    end: tuple[float, float]

    def middle(self, frame: int) -> tuple[float, float]:
        share = (frame - self.first) / (self.last - self.first)
        (x0, y0), (x1, y1) = self.start, self.end
        return x0 + share * (x1 - x0), y0 + share * (y1 - y0)


PARTS = [
    Part("obama2", "obama", 3, 20, (100, 130), (230, 240)),
    Part("biden2", "biden", 10, 30, (540, 220), (420, 120)),
    Part("astronaut", "unknown", 23, 34, (220, 120), (110, 230)),
]


def cut(photo: str) -> tuple[Picture, float]:
    """Return the face of *photo* with some of what is around it, at the film's scale, and the face's width there."""
    picture = cv2.imread(str(ROOT / f"samples/photos/{photo}.jpg"))
    assert picture is not None
    x, y, w, h = PHOTOS[photo]
    left, top = max(0, round(x - AROUND * w)), max(0, round(y - AROUND * h))
    right, bottom = 2 * x + w - left, 2 * y + h - top  # the face stays in the middle
    scale = FACE / h
    size = round((right - left) * scale), round((bottom - top) * scale)
    whole = cv2.resize(picture[top:bottom, left:right], size, interpolation=cv2.INTER_AREA)
    return np.asarray(whole, np.uint8), w * scale


def scene(frame: int) -> Picture:
    """Return a wall whose light moves, with some noise."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    light = 120 + 50 * np.sin((x + 9 * frame) / 90) + 20 * np.cos((y - 5 * frame) / 60)
    noise = np.random.default_rng(frame).normal(0, 3, (HEIGHT, WIDTH, 3))
    return np.asarray(np.clip(light[..., None] + noise, 0, 255), np.uint8)


def drawn(frame: int) -> tuple[Picture, dict[str, Rectangle]]:
    """Return a frame, and where each name's face is in it."""
    picture, places = scene(frame), dict[str, Rectangle]()
    for part in PARTS:
        if part.first <= frame <= part.last:
            face, width = cut(part.photo)
            x, y = part.middle(frame)
            high, wide = face.shape[:2]
            left, top = round(x - wide / 2), round(y - high / 2)
            picture[top : top + high, left : left + wide] = face
            places[part.name] = (left + wide / 2 - width / 2, top + high / 2 - FACE / 2, width, FACE)
    return picture, places


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Rectangle]]]:
    """The film, and who is where in each of its frames."""
    path, places = tmp_path_factory.mktemp("film") / "people.avi", []
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for frame in range(FRAMES):
        picture, where = drawn(frame)
        writer.write(picture)
        places.append(where)
    writer.release()
    return path, places


def overlap(box: Found, place: Rectangle) -> float:
    """Return intersection by union."""
    x, y, w, h = place
    wide = min(box.x + box.w, x + w) - max(box.x, x)
    high = min(box.y + box.h, y + h) - max(box.y, y)
    shared = max(0.0, wide) * max(0.0, high)
    return float(shared / (box.w * box.h + w * h - shared))


@pytest.fixture(scope="module")
def client(shared_cluster: Cluster) -> Iterator[FaceClient]:
    if not (ROOT / "models/face_recognition_sface_2021dec_int8bq.onnx").is_file():
        pytest.skip("YuNet and SFace are not there: scripts/setup --models basic")
    with FaceClient("face_recognition", coordinator=shared_cluster.url, variant="yunet_sface", pin=SPLIT) as made:
        yield made


def test_everybody_is_named_and_placed_in_every_frame(
    client: FaceClient, film: tuple[Path, list[dict[str, Rectangle]]]
) -> None:
    """People come, pass each other and go; some frames show nobody, and somebody is in no gallery."""
    path, places = film
    results = list(client.stream(frames(expand([str(path)]))))
    assert [r.sequence for r in results] == list(range(FRAMES))
    for number, (result, where) in enumerate(zip(results, places, strict=True)):
        assert sorted(b.label for b in result.boxes) == sorted(where), f"frame {number}"
        for box in result.boxes:
            assert overlap(box, where[box.label]) > ENOUGH, f"frame {number}: {box} is not at {where[box.label]}"
        assert {span.handler_id: span.node_id for span in result.trace} == {h: SPLIT[h] for h in (0, 1, 2)}
    assert {name for where in places for name in where} == {"obama", "biden", "unknown"}
    assert any(not where for where in places) and any(len(where) == 2 for where in places)
