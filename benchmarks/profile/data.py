"""The labelled pictures: where they are, and what they show."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.common import ROOT
from benchmarks.profile.detections import Area

VARIABLE = "FACESERVICE_TEST_DATA"
EVERY = 10  # frames of the video: one of so many is taken
VIDEO_FRAMES = 79


@dataclass(frozen=True)
class Photo:
    """A photo with its labelled faces."""

    path: Path
    faces: list[Area]


@dataclass(frozen=True)
class Portrait:
    """A picture of one person."""

    path: Path
    person: str


def find(given: Path | None) -> Path | None:
    """Return the folder with the data: *given*, what the environment names, or `shared/data` beside the checkout."""
    if given is not None:
        return given
    named = os.environ.get(VARIABLE)
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


def photos(folder: Path) -> list[Photo]:
    """Return dlib's example photos, as dlib_faces/testing.xml and training.xml (where they are) label them."""
    found = []
    for file in ("testing.xml", "training.xml"):
        labels = folder / "dlib_faces" / file
        for entry in ElementTree.parse(labels).iter("image") if labels.is_file() else ():
            faces = [_area(box.attrib) for box in entry.iter("box")]
            found.append(Photo(folder / "dlib_faces" / entry.attrib["file"], faces))
    return found


def portraits(folder: Path) -> list[Portrait]:
    """Return the pictures of `johns`, and those of `faces` that show a whole face: a folder for each person."""
    return [
        Portrait(path, path.parent.name)
        for group in ("johns", "faces")
        for path in sorted((folder / group).glob("*/*.jpg"))
        if "partial" not in path.stem
    ]


def street(folder: Path) -> Iterator[bytes]:
    """Yield frames of vtest.avi as JPEG (quality 95), one of EVERY, VIDEO_FRAMES of them."""
    import cv2

    video = cv2.VideoCapture(str(folder / "video" / "vtest.avi"))
    try:
        for _ in range(VIDEO_FRAMES):
            read, frame = video.read()
            if not read:
                return
            yield cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
            for _ in range(EVERY - 1):
                video.grab()
    finally:
        video.release()


def _area(label: dict[str, str]) -> Area:
    return Area(*(float(label[name]) for name in ("left", "top", "width", "height")))
