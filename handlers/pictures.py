"""Bytes of picture files to pixels: strict about what comes from outside, decoded by OpenCV."""

import io
import re
import struct
import warnings

import cv2
import numpy as np
from PIL import Image as Pillow

from handlers.base import FrameError
from handlers.types import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
MAX_PIXELS = 100_000_000  # default bound: 300 MB as uint8 BGR
PILLOW_MAX_PIXELS = 178_956_970  # Pillow refuses to read heads of larger pictures (twice Image.MAX_IMAGE_PIXELS)
MAX_SEGMENTS = 10_000  # of a JPEG, chunks of a PNG, that are looked at; real files have few, a hostile one millions
EOI, SOS, TEM, SOI = 0xD9, 0xDA, 0x01, 0xD8  # JPEG markers, ITU-T T.81 table B.1
NEXT_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")  # not stuffing (00), not a restart marker (D0-D7)


def decode_picture(data: bytes | memoryview, max_pixels: int = MAX_PIXELS) -> Image:
    """Return the picture in *data* as uint8 (H, W, 3) BGR, upright by its EXIF orientation.

    Grey pictures get three equal channels, alpha is dropped, 16 bits become 8. Raises FrameError for what is no
    picture, is cut off or damaged, or has more than *max_pixels* pixels (told by the head, before decoding).
    """
    if len(data) == 0:
        raise FrameError("the picture is empty (0 bytes)")
    check_head(data, max_pixels)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise FrameError(f"the picture cannot be decoded: {error.err or error}") from error
    if image is None:
        raise FrameError("the picture is damaged or cut off")
    return image.astype(np.uint8, copy=False)


def check_head(data: bytes | memoryview, max_pixels: int) -> None:
    """Raise FrameError unless *data* begins like a picture of at most *max_pixels* pixels and is all there."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)  # the bound below is ours
            with Pillow.open(io.BytesIO(data), formats=FORMATS) as head:  # lazy: reads the head only
                (width, height), kind = head.size, head.format
    except Pillow.DecompressionBombError as error:
        raise FrameError(f"the picture has more than {max_pixels} pixels: {error}") from error
    except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:
        raise FrameError(f"not a picture of a known kind ({', '.join(FORMATS)})") from error
    if width * height > max_pixels:
        raise FrameError(f"the picture is {width}x{height}, more than {max_pixels} pixels")
    if kind in ("JPEG", "MPO") and not jpeg_is_complete(data):
        raise FrameError("the JPEG is cut off: it has no end marker")
    if kind == "PNG" and not png_is_complete(data):
        raise FrameError("the PNG is cut off: a chunk, or its end, is not there")


def jpeg_is_complete(data: bytes | memoryview) -> bool:
    """Return True when the JPEG in *data* reaches its own end marker.

    OpenCV paints the missing part of a cut-off JPEG grey and says nothing, so the segments are walked here
    (ITU-T T.81 annex B). A search for FF D9 would not do: thumbnails inside the head have end markers too.
    """
    position = 2  # after SOI
    for _ in range(MAX_SEGMENTS):
        match = NEXT_MARKER.search(data, position)
        if match is None:
            return False
        marker, position = match[1][0], match.end()
        if marker == EOI:
            return True
        if marker in (TEM, SOI):
            continue
        if position + 2 > len(data):
            return False
        position += max(2, int.from_bytes(data[position : position + 2], "big"))
    return False


def png_is_complete(data: bytes | memoryview) -> bool:
    """Return True when the chunks of the PNG in *data* are all there, to the one that ends it (W3C PNG, 5.3).

    OpenCV takes as much memory as a chunk says that it is long, 2 GB for a file of 173 bytes, before it reads it.
    """
    position = 8  # after the signature
    for _ in range(MAX_SEGMENTS):
        length, name = int.from_bytes(data[position : position + 4], "big"), bytes(data[position + 4 : position + 8])
        position += 12 + length  # its length, its name, and its checksum behind it
        if position > len(data):
            return False
        if name == b"IEND":
            return True
    return False
