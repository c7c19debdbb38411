"""The people known by name: a folder of pictures, `<label>/*.jpg`, as vectors of a recognizer's own model.

Pictures in `<label>/not` show somebody who is taken for that person and is not.

    folder ──scan (stat only, each 2 s)──▶ changed pictures ──decode, largest HOG face, vector──▶ Known
                                                      ▲   │
                                         cache folder: one .npz per picture and model (never pickle)

Enrolment does not depend on the session's detector: HOG, upsample 1, the largest face, one jitter. A picture that
is broken or shows no face is logged by name, once, and skipped.
"""

import hashlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from handlers import vector_cache
from handlers.base import FrameError
from handlers.detector import shrunk
from handlers.hog_detect_face import find_faces, frontal_face_detector
from handlers.mirrored import MARKER, NOT
from handlers.naming import Known, Vector
from handlers.pictures import decode_picture
from handlers.pixels import scale, to_rgb
from handlers.types import Image

SUFFIXES = {".jpg", ".jpeg", ".png"}
RESCAN_S = 2.0  # the folder is looked at again at most this often
FIRST_BUDGET_S = 20.0  # spent while the session waits to begin; the rest follows with the frames
BUDGET_S = 1.0  # spent on new pictures per refresh while frames wait; the rest follows with the next frames
UPSAMPLE = 1
MAX_PIXELS = 4_000_000  # of a picture that is enrolled; larger ones are shrunk: a detection takes 2 s then

logger = logging.getLogger(__name__)
Stamp = tuple[int, int]  # mtime in ns, size: a change of either means a changed picture


def scan(folder: Path) -> dict[Path, Stamp]:
    """Return the pictures of *folder*, `<label>/<name>.jpg|jpeg|png` and `<label>/not/<name>...`, by their names."""
    found: dict[Path, Stamp] = {}
    for path in sorted([*folder.glob("*/*"), *folder.glob(f"*/{NOT}/*")]):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            try:
                status = path.stat()
            except OSError:  # gone since the listing
                continue
            found[path] = (status.st_mtime_ns, status.st_size)
    return found


def _mark(folder: Path) -> int | None:
    """Return what changes whenever a mirrored folder does; None for a folder that says nothing: look at all of it."""
    try:
        return (folder / MARKER).stat().st_mtime_ns
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Face:
    """A face at x, y, w, h of *picture* (uint8 (H, W, 3) BGR); landmarks in pixels of it, where they are known.

    left, top: where the picture lies in the frame, for those to whom the last bit of a coordinate matters.
    """

    picture: Image
    x: int
    y: int
    w: int
    h: int
    landmarks: NDArray[Any] | None = None
    left: int = 0
    top: int = 0


class Embedder(Protocol):
    """Turns faces into vectors; small Euclidean distances mean the same person."""

    @property
    def identity(self) -> str:
        """Of the vectors: those of two identities mean nothing to each other."""
        ...

    @property
    def dim(self) -> int:
        """Numbers per vector."""
        ...

    def describe(self, face: Face) -> tuple[Vector, NDArray[Any] | None]:
        """Return the vector, float64 (dim,), and the landmarks used, in pixels of the face's picture."""
        ...


class Gallery:
    """Known faces. One thread; `refresh` follows the folder, `known` answers."""

    def __init__(self, folder: Path | None, cache: Path, embedder: Embedder) -> None:
        self.folder = folder
        self._cache = cache
        self._embedder = embedder
        self._detector = frontal_face_detector()
        self._known: dict[Path, tuple[Stamp, Vector | None]] = {}  # None: no face in it, or broken
        self._scanned = float("-inf")
        self._complete = False
        self._marked: int | None = None
        self._stack()

    def __repr__(self) -> str:
        return f"<Gallery {self.folder} {len(self.known.labels)} pictures of {len(set(self.known.labels))} people>"

    def refresh(self, budget_s: float = float("inf")) -> None:
        """Follow the folder, at most each RESCAN_S; a refresh that ran out of *budget_s* goes on with the next."""
        now = time.monotonic()
        if self.folder is None or (self._complete and now - self._scanned < RESCAN_S):
            return
        self._scanned = now
        mark = _mark(self.folder)
        if self._complete and mark is not None and mark == self._marked:
            return
        pictures = scan(self.folder)
        stale = {p for p, (stamp, _) in self._known.items() if pictures.get(p) != stamp}
        new = [p for p in pictures if p in stale or p not in self._known]
        for path in stale:
            del self._known[path]
        taken = self._enrol(new, pictures, now + budget_s)
        self._complete, self._marked = taken == len(new), mark
        if stale or new:
            self._stack()
            labels = self.known.labels
            logger.info("gallery %s: %d faces of %d people", self.folder, len(labels), len(set(labels)))

    def _enrol(self, new: list[Path], stamps: dict[Path, Stamp], until: float) -> int:
        """Compute the vectors of *new* until that time (monotonic), at least one. Return how many were done."""
        for count, path in enumerate(new, 1):
            self._known[path] = (stamps[path], self._vector(path))
            if time.monotonic() > until:
                return count
        return len(new)

    def _vector(self, path: Path) -> Vector | None:
        """Return the vector of the largest face in the picture, from the cache when it is there; None without one."""
        try:
            data = path.read_bytes()
            cached = self._cache / f"{hashlib.sha256(data).hexdigest()}-{self._embedder.identity}.npz"
            vector = vector_cache.load(cached, self._embedder.dim)
            if vector is None:
                vector = self._compute(data)
                vector_cache.save(cached, vector)
        except (OSError, FrameError) as error:
            logger.warning("gallery picture %s is skipped: %s", path, error)
            return None
        if len(vector) == 0:
            logger.warning("gallery picture %s is skipped: no face in it", path)
            return None
        return vector

    def _compute(self, data: bytes) -> Vector:
        """Return the vector of the largest face, float64 (dim,), or (0,) without a face. Raises FrameError."""
        whole = decode_picture(data)
        picture = scale(whole, *shrunk(whole.shape[1], whole.shape[0], MAX_PIXELS))
        faces = find_faces(self._detector, to_rgb(picture), UPSAMPLE)
        if not faces:
            return np.empty(0)
        face = max(faces, key=lambda f: f.w * f.h)
        return self._embedder.describe(Face(picture, face.x, face.y, face.w, face.h))[0]

    def _stack(self) -> None:
        faces: list[tuple[str, Vector]] = []
        negatives: dict[str, list[Vector]] = {}
        for path, (_, vector) in sorted(self._known.items(), key=lambda item: item[0]):  # equal distances: by name
            if vector is not None and self._negative(path):
                negatives.setdefault(path.parent.parent.name, []).append(vector)
            elif vector is not None:
                faces.append((path.parent.name, vector))
        matrix = np.array([vector for _, vector in faces]).reshape(-1, self._embedder.dim)
        refuted = {label: np.array(vectors) for label, vectors in negatives.items()}
        self.known = Known([label for label, _ in faces], matrix, refuted)

    def _negative(self, path: Path) -> bool:
        return path.parent.parent != self.folder
