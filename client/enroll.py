"""`enroll GALLERY LABEL [--not] PICTURE...`: make a person known by pictures, or tell others from them."""

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from client.coordinator import Coordinator
from client.errors import Refused, SourceError
from client.frames import Frame, encode_array, read_picture
from wire.galleries import MAX_PICTURE_BYTES, MAX_PICTURE_PIXELS

TOO_LARGE = 413
PICTURE_FAULTS = (TOO_LARGE, 415, 422)  # of this picture: the next one may do


def enroll(
    coordinator: Coordinator, gallery: str, label: str, paths: Iterable[Path], *, negative: bool = False
) -> dict[str, Any]:
    """Enrol every picture under its file's name and return {"enrolled": [...], "refused": [...]}.

    negative: the pictures show others who are taken for *label*. Raises CoordinatorAway, and Refused for what no other
    picture would change.
    """
    enrolled: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    send = coordinator.refute if negative else coordinator.enroll
    for path in paths:
        try:
            picture = fitting(read_picture(path))
            enrolled.append(send(gallery, label, picture) | {"picture": str(path)})
        except SourceError as error:
            refused.append({"picture": str(path), "reason": str(error)})
        except Refused as error:
            if error.status not in PICTURE_FAULTS:
                raise
            refused.append({"picture": str(path), "reason": error.problem.get("detail") or str(error)})
    return {"enrolled": enrolled, "refused": refused}


def fitting(picture: Frame) -> Frame:
    """Return *picture*, made smaller when it has more pixels or bytes than are taken; faces stay large enough."""
    import cv2
    import numpy as np

    try:
        image = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # empty, or larger than OpenCV reads
        image = None
    if image is None:
        return picture  # the coordinator says what is wrong with it
    height, width = image.shape[:2]
    if width * height <= MAX_PICTURE_PIXELS and len(picture.data) <= MAX_PICTURE_BYTES:
        return picture
    scale = min(1.0, math.sqrt(MAX_PICTURE_PIXELS / (width * height)))
    size = (max(1, math.floor(width * scale)), max(1, math.floor(height * scale)))
    smaller = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return replace(encode_array(np.asarray(smaller, np.uint8)), name=picture.name)
