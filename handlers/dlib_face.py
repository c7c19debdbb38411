"""Vectors of faces by dlib, as `face_recognition.face_encodings` computes them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from handlers.base import Unavailable
from handlers.hog_detect_face import need_dlib
from handlers.manifest import find, locate
from handlers.pixels import to_rgb

if TYPE_CHECKING:
    from handlers.gallery import Face

Predictor = Literal["5", "68"]
LANDMARKS = {"5": "dlib-landmarks-5", "68": "dlib-landmarks-68"}  # face_recognition's "small" and "large"
DIM = 128


class FaceEmbedder:
    """A landmark predictor and a network; raises Unavailable when a file is missing or damaged."""

    dim = DIM

    def __init__(self, predictor: Predictor, model: str, model_path: Path) -> None:
        need_dlib()
        import dlib

        self._rectangle = dlib.rectangle
        self._predictor = load_dlib(dlib.shape_predictor, LANDMARKS[predictor], model_path)
        self._network = load_dlib(dlib.face_recognition_model_v1, model, model_path)
        self.identity = f"{find(LANDMARKS[predictor]).sha256[:12]}-{find(model).sha256[:12]}"  # of its vectors

    def describe(self, face: "Face", jitters: int = 1) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return the vector of *face*, float64 (128,), and its landmarks, int32 (n, 2), in pixels of its picture."""
        rgb = to_rgb(face.picture)
        shape = self._predictor(rgb, self._rectangle(face.x, face.y, face.x + face.w, face.y + face.h))
        vector = np.array(self._network.compute_face_descriptor(rgb, shape, jitters), np.float64)
        return vector, np.array([(p.x, p.y) for p in shape.parts()], np.int32)


def check_models(predictor: Predictor, model: str, model_path: Path) -> None:
    """Raise Unavailable when dlib or a file is missing; loads nothing."""
    need_dlib()
    locate(LANDMARKS[predictor], model_path)
    locate(model, model_path)


def load_dlib(kind: Any, model_id: str, model_path: Path) -> Any:
    """Return *kind* made of the file of *model_id*. Raises Unavailable when it is missing or damaged."""
    path = locate(model_id, model_path)
    try:
        return kind(str(path))
    except RuntimeError as error:  # dlib's serialization_error
        raise Unavailable(f"{path} is damaged ({error}); see `python3 -m handlers.models verify`") from error
