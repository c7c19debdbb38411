"""OpenfaceRecognize: names of faces by OpenFace's nn4.small2 (Amos, Ludwiczuk, Satyanarayanan 2016)."""

from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handlers.base import Context, Range
from handlers.gallery import Face
from handlers.hog_detect_face import need_dlib
from handlers.landmarks68 import Indices, LandmarkAligner
from handlers.manifest import find, locate
from handlers.network import load
from handlers.pixels import scale
from handlers.recognizer import Recognizer, RecognizerParams
from handlers.types import Image


class OpenfaceRecognizeParams(RecognizerParams, frozen=True):
    """Parameters of handler type 14."""

    model: str = "openface-nn4-small2"  # an id of the manifest
    predictor: str = "dlib-landmarks-68"  # an id of the manifest: aligns the faces that DlibAlign has not
    indices: Indices = "outer_eyes_and_nose"  # which three landmarks are laid over the template
    dim: Annotated[int, Range(96, 96)] = 96  # pixels: side of the network's input, which is fixed
    thresh: Annotated[float, Range(0.0, 2.0)] = 0.99  # largest distance of the same person


class OpenfaceEmbedder:
    """Aligner and network; raises Unavailable when a file is missing or damaged."""

    def __init__(self, params: OpenfaceRecognizeParams, model_path: Path) -> None:
        self._network = load(params.model, model_path, cv2.dnn.readNetFromTorch)
        self._aligner = LandmarkAligner(params.predictor, params.indices, params.dim, model_path)
        self._side = params.dim
        self.identity = f"{find(params.predictor).sha256[:12]}-{find(params.model).sha256[:12]}-{params.indices}"
        self.dim = len(self.embed(np.zeros((params.dim, params.dim, 3), np.uint8)))

    def describe(self, face: Face) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return the vector of *face*, float64 (dim,) of length 1, and its landmarks, int32 (68, 2)."""
        aligned, points = self._aligner.align(face.picture, face.x, face.y, face.w, face.h)
        return self.embed(aligned), points

    def embed(self, picture: Image) -> NDArray[np.float64]:
        """Return the vector of an aligned face (uint8 (side, side, 3) BGR): float64 (dim,) of length 1."""
        self._network.setInput(cv2.dnn.blobFromImage(picture, 1 / 255, (self._side, self._side), swapRB=True))
        vector = np.asarray(self._network.forward(), np.float64).reshape(-1)
        return vector / max(float(np.linalg.norm(vector)), 1e-12)


class OpenfaceRecognizeHandler(Recognizer[OpenfaceRecognizeParams]):
    """Boxes with crops, or aligned faces -> Boxes; embedding float64 (128,), landmarks int32 (68, 2)."""

    params_type = OpenfaceRecognizeParams

    @classmethod
    def check(cls, params: Any, context: Context) -> None:
        """Raise Unavailable without dlib or a model, or when a gallery is named."""
        super().check(params, context)
        need_dlib()
        locate(params.model, context.model_path)
        locate(params.predictor, context.model_path)

    def load(self) -> OpenfaceEmbedder:
        """Return aligner and network. Raises Unavailable."""
        self._model = OpenfaceEmbedder(self.params, self.context.model_path)
        return self._model

    def describe_aligned(self, picture: Image) -> NDArray[np.float64]:
        """Return the vector of a face that DlibAlign has cut out with the same `indices`."""
        return self._model.embed(scale(picture, self.params.dim, self.params.dim))
