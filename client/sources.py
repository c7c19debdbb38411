"""Where frames come from: pictures, folders, videos, cameras, URLs.

`expand` decides, before anything is sent, what each source is and complains about all bad ones at once; `frames`
reads. Videos and cameras need OpenCV, which is imported only then.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests

from client.errors import SourceError
from client.frames import Frame, encode_array, media_type, read_picture

if TYPE_CHECKING:
    import cv2

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
VIDEOS = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v", ".ts", ".mjpg", ".mjpeg"})
URL_TIMEOUT_S = 15


class Kind(Enum):
    """What a source is."""

    PICTURE, VIDEO, CAMERA, URL = "picture", "video", "camera", "URL"


@dataclass(frozen=True, slots=True)
class Source:
    """One source: `place` is a path, a camera number or a URL; `name` is what its frames are called."""

    kind: Kind
    place: str
    name: str


def expand(words: Sequence[str]) -> list[Source]:
    """Return the sources that *words* name (a folder: its pictures, sorted). Raises SourceError with all faults."""
    found: list[Source] = []
    faults: list[str] = []
    for word in words:
        try:
            found += classify(word)
        except SourceError as error:
            faults.append(str(error))
    if faults:
        raise SourceError("\n".join(faults))
    return _distinct(found)


def classify(word: str) -> list[Source]:
    """Return what *word* names. Raises SourceError."""
    path = Path(word).expanduser()
    if "://" in word:
        return [_url(word)]
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        kind = Kind.VIDEO if path.suffix.lower() in VIDEOS else Kind.PICTURE
        return [Source(kind, str(path), path.name)]
    if word.isdecimal():
        return [Source(Kind.CAMERA, word, f"camera-{word}")]
    raise SourceError(f"{word}: no such file or folder (a camera is a number, a URL has ://)")


def count(sources: Sequence[Source]) -> int | None:
    """Return how many frames *sources* have; None when only reading would tell."""
    return len(sources) if all(s.kind is Kind.PICTURE for s in sources) else None


def frames(sources: Sequence[Source], *, live: bool = False) -> Iterator[Frame]:
    """Yield the frames of all *sources*, in order. live: a video runs at its own speed. Raises SourceError."""
    for source in sources:
        if source.kind is Kind.PICTURE:
            yield read_picture(Path(source.place), source.name)
        elif source.kind is Kind.VIDEO:
            yield from _video(source.place, source.name, paced=live)
        elif source.kind is Kind.CAMERA:
            yield from _video(int(source.place), source.name, paced=False)
        else:
            yield from _from_url(source)


def _folder(path: Path) -> list[Source]:
    pictures = sorted(p for p in path.rglob("*") if p.suffix.lower() in PICTURES and p.is_file())
    if not pictures:
        raise SourceError(f"{path}: no pictures in this folder ({', '.join(sorted(PICTURES))})")
    return [Source(Kind.PICTURE, str(p), p.relative_to(path).as_posix()) for p in pictures]


def _url(word: str) -> Source:
    parts = urlsplit(word)
    name = Path(parts.path).name or parts.netloc
    is_web = parts.scheme in ("http", "https")
    return Source(Kind.URL if is_web and Path(name).suffix.lower() not in VIDEOS else Kind.VIDEO, word, name)


def _distinct(sources: list[Source]) -> list[Source]:
    """Return *sources* with names that are all different: the second `a.jpg` becomes `a-2.jpg`."""
    seen: dict[str, int] = {}
    distinct = []
    for source in sources:
        seen[source.name] = seen.get(source.name, 0) + 1
        path = Path(source.name)
        again = seen[source.name]
        name = source.name if again == 1 else path.with_name(f"{path.stem}-{again}{path.suffix}").as_posix()
        distinct.append(Source(source.kind, source.place, name))
    return distinct


def _video(place: str | int, name: str, *, paced: bool) -> Iterator[Frame]:
    """Yield a video's frames as JPEG, called `name#000000` and so on."""
    import cv2

    capture = cv2.VideoCapture(place)
    if not capture.isOpened():
        capture.release()
        what = f"camera {place}" if isinstance(place, int) else str(place)
        raise SourceError(f"cannot open {what} (is it there, and in a format that OpenCV reads?)")
    try:
        fps = capture.get(cv2.CAP_PROP_FPS) if paced else 0.0
        yield from _read(capture, name, fps)
    finally:
        capture.release()


def _read(capture: "cv2.VideoCapture", name: str, fps: float) -> Iterator[Frame]:
    """Yield the frames of an open capture; fps > 0: not faster than that."""
    began, number = time.monotonic(), 0
    while True:
        good, image = capture.read()
        if not good:
            return
        if fps > 0:
            time.sleep(max(0.0, began + number / fps - time.monotonic()))  # the video's clock, not a poll
        yield encode_array(image, f"{name}#{number:06d}")
        number += 1


def _from_url(source: Source) -> Iterator[Frame]:
    """Yield the picture at a URL, or the frames of the stream that is there."""
    try:
        with requests.get(source.place, stream=True, timeout=URL_TIMEOUT_S) as answer:
            answer.raise_for_status()
            kind = answer.headers.get("Content-Type", "")
            data = answer.content if not kind.startswith(("multipart/", "video/")) else None
    except requests.RequestException as error:
        raise SourceError(f"cannot fetch {source.place}: {error}") from error
    if data is None:
        yield from _video(source.place, source.name, paced=False)
    else:
        yield Frame(source.name, data, media_type(data))
