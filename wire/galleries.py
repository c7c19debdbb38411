"""Galleries of known people: how they are named, and what coordinator, nodes and clients say about them. Pure.

A gallery has labels (people), a label has pictures, a picture has a name. Labels become folders on nodes, so a name is
checked wherever it arrives.
"""

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

from msgspec import Meta, field

from wire.messages import Body

DEFAULT = "default"  # the gallery of a recognizer that names none, on a node without a folder of its own
PARAMETER = "gallery"  # the handler parameter that names one
UNKNOWN = "unknown"  # what recognizers call a face that they do not know
UNKNOWN_GALLERY = "unknown-gallery"  # slug of the problem
NOT = "not"  # in paths, after a label: pictures of others who are taken for that person

MAX_NAME_BYTES = 128  # in UTF-8: fits a column and a file's name
MAX_PICTURE_BYTES = 8 << 20  # below what database servers take in one packet by default (16 MiB)
MAX_PICTURE_PIXELS = 2560 * 1440  # one detection in more would hold up a recognizer's frames too long

_MAGIC = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"BM": "image/bmp"}

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class BadName(Exception):
    """A name that cannot be used; the message says which and why."""


class Portrait(Body, frozen=True, kw_only=True):
    """What was seen in a picture that is to be enrolled, or why it is refused."""

    faces: int = 0
    face: dict[str, int] | None = None  # x, y, w, h of the largest, in pixels of the upright picture
    refused: str | None = None  # the picture's own fault
    unavailable: str | None = None  # the machine's


class PictureEntry(Body, frozen=True, kw_only=True):
    """A picture of a label."""

    name: str
    sha256: Sha256
    created: float  # s since the epoch


class LabelEntry(Body, frozen=True, kw_only=True):
    """A person with pictures."""

    label: str
    pictures: list[PictureEntry]
    negatives: list[PictureEntry] = field(name=NOT, default_factory=list)  # show others


class GalleryListing(Body, frozen=True, kw_only=True):
    """GET /galleries/<gallery>."""

    gallery: str
    version: int  # grows with every change, and never shrinks
    labels: list[LabelEntry]


class GallerySummary(Body, frozen=True, kw_only=True):
    """A row of GET /galleries."""

    gallery: str
    version: int
    labels: int
    pictures: int


class Enrolled(Body, frozen=True, kw_only=True):
    """Answer to PUT /galleries/<gallery>/<label>/<name> and POST /galleries/<gallery>/<label>/not."""

    gallery: str
    label: str
    name: str
    sha256: Sha256
    version: int
    change: str  # added | replaced | unchanged
    faces: int  # seen in the picture
    face: dict[str, int] | None = None  # the one that was taken: x, y, w, h in pixels
    note: str | None = None  # when it shows several


def check_name(kind: str, name: str) -> str:
    """Return *name* when it may be a *kind* ("gallery", "label", "name"): letters of any script, digits, and signs but
    for slashes. Raises BadName."""
    size = len(name.encode("utf-8", "replace"))
    if not 1 <= size <= MAX_NAME_BYTES:
        raise BadName(f"a {kind} has 1 to {MAX_NAME_BYTES} bytes of UTF-8, not {size}")
    wrong = sorted({c for c in name if c in "/\\\ufffd" or unicodedata.category(c) in ("Cc", "Cs", "Cn", "Zl", "Zp")})
    if wrong:
        raise BadName(f"{kind} {name!r} has characters that are not allowed: {' '.join(map(ascii, wrong))}")
    if name.startswith(".") or name != name.strip():
        raise BadName(f"{kind} {name!r} begins with a dot, or begins or ends with a space")
    if kind == "label" and name == UNKNOWN:
        raise BadName(f"label {name!r} is what recognizers call everybody else")
    return name


def named_gallery(params: Mapping[str, Any]) -> str | None:
    """Return the gallery that a handler's parameters name: empty for the node's own, None when it takes none."""
    name = params.get(PARAMETER)
    return name if isinstance(name, str) else None


def media_type(data: bytes) -> str | None:
    """Return the kind of picture that *data* begins like, None for all but JPEG, PNG, WebP and BMP."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)


def path_of(*names: str) -> str:
    """Return the path of a gallery, of a label in it, or of a picture of that."""
    return "/galleries/" + "/".join(quote(name, safe="") for name in names)
