"""Decode, Encode, Resize: what comes from outside is refused by name, or becomes uint8 (H, W, 3) BGR."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from handlers.base import FrameError
from handlers.decode import DecodeHandler
from handlers.encode import EncodeHandler
from handlers.pictures import decode_picture, jpeg_is_complete
from handlers.resize import ResizeHandler, target_size
from handlers.types import Encoded, Image
from tests.handler_support import SAMPLES, Make

JPEG = (SAMPLES / "photos" / "obama2.jpg").read_bytes()


def saved(image: Pillow.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_head(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds next to nothing."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(100))
    chunks = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (head, data))
    return b"\x89PNG\r\n\x1a\n" + chunks


NOISE = np.random.default_rng(7).integers(0, 255, (40, 60, 3), np.uint8)
PNG, WEBP, BMP = (saved(Pillow.fromarray(NOISE), kind) for kind in ("PNG", "WEBP", "BMP"))
LENGTH_OF_IDAT = PNG[PNG.index(b"IDAT") - 4 :][:8]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"this is no picture", "not a picture"),
        (bytes(1000), "not a picture"),
        (b"\xff\xd8", "not a picture"),
        (b"\xff\xd8\xff\xe0", "not a picture"),
        (JPEG[:-2], "end marker"),
        (JPEG[: len(JPEG) // 2], "end marker"),
        (PNG[: len(PNG) // 2], "a chunk"),
        (PNG.replace(LENGTH_OF_IDAT, b"\x7f\xf0\0\0IDAT"), "a chunk"),  # OpenCV would take 2 GB for it
        (WEBP[: len(WEBP) // 2], "damaged|picture"),
        (BMP[: len(BMP) // 2], "damaged|picture"),
        (png_head(100_000, 100_000), "pixels"),
        (png_head(12_000, 12_000), "12000x12000"),
        (png_head(2**31 - 1, 2**31 - 1), "pixels"),
        (png_head(0, 5), "not a picture|damaged"),
        (b"GIF89a" + bytes(100), "not a picture"),
    ],
)
def test_what_is_no_whole_picture_fails_its_frame(make: Make, data: bytes, reason: str) -> None:
    with pytest.raises(FrameError, match=reason):
        make(DecodeHandler).execute(Encoded(data))


@pytest.mark.parametrize("cut", range(2, len(JPEG) - 1, 997))
def test_no_cut_off_jpeg_passes_for_whole(cut: int) -> None:
    assert not jpeg_is_complete(JPEG[:cut])


def test_an_end_marker_in_a_thumbnail_is_not_the_end() -> None:
    """A search for FF D9 would call this cut-off file whole."""
    thumbnail = saved(Pillow.fromarray(NOISE), "JPEG")
    segment = b"Exif\x00\x00" + thumbnail
    data = JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + JPEG[2 : len(JPEG) // 2]
    assert not jpeg_is_complete(data)
    assert jpeg_is_complete(data + JPEG[len(JPEG) // 2 :])


def test_bytes_after_the_end_are_allowed() -> None:
    assert decode_picture(JPEG + b"trailing bytes of a camera").shape == (640, 334, 3)


@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"restart_marker_blocks": 4}, {"quality": 100}, {"optimize": True}]
)
def test_all_sorts_of_jpeg_decode(options: dict[str, object]) -> None:
    assert decode_picture(saved(Pillow.fromarray(NOISE), "JPEG", **options)).shape == (40, 60, 3)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA", "1", "I;16", "CMYK"])
def test_every_kind_of_pixel_becomes_bgr(make: Make, mode: str) -> None:
    if mode == "I;16":
        data = saved(Pillow.fromarray(np.full((9, 11), 0x8000, np.uint16)), "PNG")
    else:
        data = saved(Pillow.fromarray(NOISE[:9, :11]).convert(mode), "JPEG" if mode == "CMYK" else "PNG")
    image = make(DecodeHandler).execute(Encoded(data))
    assert (image.dtype, image.shape, image.flags.c_contiguous) == (np.uint8, (9, 11, 3), True)
    if mode == "I;16":
        assert (image == 0x80).all()


def test_decoding_keeps_colours_and_takes_views(make: Make) -> None:
    image = make(DecodeHandler).execute(Encoded(memoryview(PNG).toreadonly(), "image/png"))
    assert (image == NOISE[..., ::-1]).all()


def test_a_single_pixel_is_a_picture(make: Make) -> None:
    assert make(DecodeHandler).execute(Encoded(saved(Pillow.new("RGB", (1, 1)), "PNG"))).shape == (1, 1, 3)


def test_max_pixels_counts_width_times_height(make: Make) -> None:
    decode = make(DecodeHandler, max_pixels=40 * 60)
    assert decode.execute(Encoded(PNG)).shape == (40, 60, 3)
    with pytest.raises(FrameError, match="61x40"):
        decode.execute(Encoded(saved(Pillow.new("RGB", (61, 40)), "PNG")))


def test_a_turned_photo_is_set_upright() -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # orientation: turned by 90 degrees
    assert decode_picture(saved(Pillow.new("RGB", (60, 40)), "JPEG", exif=exif)).shape == (60, 40, 3)


def test_encode_gives_a_jpeg_of_the_quality(make: Make, photos: dict[str, Image]) -> None:
    image = photos["obama2"]
    low, high = (make(EncodeHandler, quality=q).execute(image) for q in (30, 95))
    assert low.media_type == "image/jpeg" and len(low.data) * 3 < len(high.data)
    assert cv2.PSNR(decode_picture(high.data), image) > 40  # dB


def test_what_cannot_be_a_jpeg_fails_its_frame(make: Make) -> None:
    for shape in ((0, 5, 3), (1, 70_000, 3)):
        with pytest.raises(FrameError):
            make(EncodeHandler).execute(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("wanted", "shape"),
    [((32, 24), (24, 32, 3)), ((30, 0), (20, 30, 3)), ((0, 80), (80, 120, 3)), ((0, 0), (40, 60, 3))],
)
def test_resize_keeps_proportions_where_a_side_is_open(make: Make, wanted: tuple[int, int], shape: object) -> None:
    assert make(ResizeHandler, width=wanted[0], height=wanted[1]).execute(NOISE).shape == shape


def test_resizing_never_makes_an_empty_picture() -> None:
    assert target_size(10_000, 3, 10, 0) == (10, 1)
