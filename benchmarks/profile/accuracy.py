"""How accurate variants are: labelled photos are posted to a session of the running system."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cluster import Cluster
from benchmarks.profile import data, pairs
from benchmarks.profile.detections import judge
from benchmarks.profile.system import FrameFailed, Poster, areas, media_type, session
from benchmarks.profile.variants import RECOGNITION, SHOWN
from benchmarks.profile.vectors import read

Step = Callable[[], None]  # called after each picture
Params = dict[int, dict[str, Any]]
FACE_SERVICES, STREET_SERVICES = ("face_detection", RECOGNITION), ("object_detection", "people_tracking")


@dataclass(frozen=True)
class Pictures:
    """What variants are tried on."""

    photos: Sequence[data.Photo] = ()
    portraits: Sequence[data.Portrait] = ()
    street: Sequence[bytes] = ()

    @classmethod
    def of(cls, folder: Path, *, few: bool) -> "Pictures":
        """Return those in *folder*, or a *few* of them."""
        photos, portraits, street = data.photos(folder), data.portraits(folder), list(data.street(folder))
        return cls(photos[:2], portraits[:8] + portraits[11:19], street[:3]) if few else cls(photos, portraits, street)

    def of_service(self, service: str) -> int:
        """Return how many pictures the accuracy of a variant of *service* takes; 0: nothing here tells it."""
        if service in STREET_SERVICES:
            return len(self.street)
        portraits = len(self.portraits) if service == RECOGNITION else 0
        return len(self.photos) + portraits if service in FACE_SERVICES else 0


def detection(cluster: Cluster, service: str, variant: str, params: Params, on: Pictures, step: Step) -> dict[str, Any]:
    """Return recall, precision and F1 of the boxes of a variant, and how many faces and photos that is of."""
    with session(cluster, service, variant, params) as (post, _):
        found = judge([(areas(_posted(post, photo.path, step)), photo.faces) for photo in on.photos])
    return {
        "recall": found.recall,
        "precision": found.precision,
        "f1": found.f1,
        "faces": found.labelled,
        "boxes": found.found,
        "photos": len(on.photos),
    }


def recognition(
    cluster: Cluster, variant: str, thresh: float, limit: int | None, on: Pictures, step: Step
) -> dict[str, Any]:
    """Return how a variant tells pairs of faces apart (at *thresh* and at best) and its nearest neighbours.

    limit: pixels; larger pictures are posted smaller. Pictures without a face are left out, and counted.
    """
    vectors, people, missed = [], [], []
    with session(cluster, SHOWN, variant) as (post, _):
        for portrait in on.portraits:
            boxes = _posted(post, portrait.path, step, limit)["boxes"]
            if not boxes:
                missed.append(f"{portrait.person}/{portrait.path.name}")
                continue
            vectors.append(read(max(boxes, key=lambda b: b["w"] * b["h"])["label"]))
            people.append(portrait.person)
    return {**separation(vectors, people, thresh), "missed": missed}


def separation(vectors: list[Any], people: list[str], thresh: float) -> dict[str, Any]:
    """Return the figures of *vectors* of faces of *people*."""
    if len(set(people)) == len(people) or len(people) < 3:
        return {"pictures": len(people)}
    stacked = np.array(vectors)
    found = pairs.pairs(stacked, people)
    best, at = found.best()
    return {
        "pair_accuracy": found.accuracy(thresh),
        "thresh": thresh,
        "pair_accuracy_best": best,
        "thresh_best": at,
        "nearest": pairs.nearest(stacked, people),
        "pairs": len(found.same),
        "same_pairs": int(found.same.sum()),
        "pictures": len(people),
        "people": len(set(people)),
    }


def counts(cluster: Cluster, service: str, variant: str, on: Pictures, step: Step) -> dict[str, Any]:
    """Return how many people a variant sees in the frames of a street (no labels: a count, not an accuracy)."""
    people = 0
    with session(cluster, service, variant) as (post, _):
        for frame in on.street:
            people += sum(b["label"] == "person" for b in post(frame)["boxes"])
            step()
    return {"people_found": people, "frames": len(on.street)}


def _posted(post: Poster, path: Path, step: Step, limit: int | None = None) -> dict[str, Any]:
    """Return the result of a picture. Raises FrameFailed, with the picture's name."""
    try:
        return post(*_picture(path, limit))
    except FrameFailed as error:
        raise FrameFailed(f"{path.name}: {error}") from error
    finally:
        step()


def _picture(path: Path, limit: int | None) -> tuple[bytes, str]:
    """Return a picture's bytes and media type; made smaller (as PNG) when it has more than *limit* pixels."""
    content = path.read_bytes()
    if limit is None:
        return content, media_type(path)
    import cv2

    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise FrameFailed("is no picture")
    scale = math.sqrt(limit / (image.shape[0] * image.shape[1]))
    if scale >= 1:
        return content, media_type(path)
    size = (int(image.shape[1] * scale), int(image.shape[0] * scale))
    return cv2.imencode(".png", cv2.resize(image, size, interpolation=cv2.INTER_AREA))[1].tobytes(), "image/png"
