"""Is there a face in a picture? A process of its own: `python -m handlers.portrait < picture`, one JSON line out.

The picture comes from outside and is decoded here, so what it can do wrong ends with this process: its memory and its
time are bounded, and whoever started it reads wire.galleries.Portrait or notes that it ended.
"""

import resource
import signal
import sys

import msgspec

from handlers.base import FrameError, Unavailable
from handlers.gallery import UPSAMPLE
from handlers.hog_detect_face import find_faces, frontal_face_detector
from handlers.pictures import decode_picture
from handlers.pixels import to_rgb
from wire.galleries import MAX_PICTURE_BYTES, MAX_PICTURE_PIXELS, Portrait

MAX_SECONDS = 60  # also when whoever started it is gone
MAX_MEMORY = 4 << 30  # bytes of address space; a detection in the largest picture takes 0.5 GB


def examine(data: bytes) -> Portrait:
    """Return what enrolment will see in *data*: faces by HOG, and the largest one."""
    try:
        rgb = to_rgb(decode_picture(data, MAX_PICTURE_PIXELS))
        faces = find_faces(frontal_face_detector(), rgb, UPSAMPLE)
    except FrameError as error:
        return Portrait(refused=str(error))
    except Unavailable as error:
        return Portrait(unavailable=str(error))
    if not faces:
        return Portrait(refused="there is no face in the picture")
    largest = max(faces, key=lambda f: f.w * f.h)
    return Portrait(faces=len(faces), face={"x": largest.x, "y": largest.y, "w": largest.w, "h": largest.h})


def main() -> int:
    """Answer for the picture on standard input."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    signal.alarm(MAX_SECONDS)
    data = sys.stdin.buffer.read(MAX_PICTURE_BYTES + 1)
    sys.stdout.write(msgspec.json.encode(examine(data)).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
