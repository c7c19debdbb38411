"""A frame before it is sent: bytes, media type, name."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from client.errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"GIF8", "image/gif"),
)


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture as a file holds it, and what to call it."""

    name: str
    data: bytes
    media_type: str = "image/jpeg"


Picture = Union[Frame, bytes, bytearray, memoryview, str, PathLike[str], "NDArray[Any]"]


def media_type(data: bytes) -> str:
    """Return the media type that the first bytes show; `application/octet-stream` when they show none."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((name for magic, name in MAGIC if data.startswith(magic)), "application/octet-stream")


def read_picture(path: Path, name: str = "") -> Frame:
    """Return the file as a frame. Raises SourceError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from error
    return Frame(name or path.name, data, media_type(data))


def encode_array(image: "NDArray[Any]", name: str = "", quality: int = 90) -> Frame:
    """Return a uint8 (H, W, 3) BGR array as a JPEG frame. Raises SourceError."""
    import cv2

    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise SourceError(f"cannot encode {name or 'an array'} as JPEG")
    return Frame(name, data.tobytes())


def to_frame(picture: Picture, name: str = "") -> Frame:
    """Return *picture* (Frame, bytes, path or array) as a frame. Raises SourceError."""
    if isinstance(picture, Frame):
        return picture
    if isinstance(picture, bytes | bytearray | memoryview):
        data = bytes(picture)
        return Frame(name, data, media_type(data))
    if isinstance(picture, str | PathLike):
        return read_picture(Path(picture), name)
    if hasattr(picture, "__array_interface__"):
        return encode_array(picture, name)
    raise SourceError(f"{type(picture).__name__} is no picture: give bytes, a path, an array or a Frame")


def to_frames(pictures: Iterable[Picture]) -> Iterator[Frame]:
    """Yield each of *pictures* as a frame. Raises SourceError."""
    for picture in pictures:
        yield to_frame(picture)
