"""FacenetRecognize: names of faces by FaceNet (Schroff, Kalenichenko, Philbin 2015; Sandberg's network of 2018)."""

from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handlers.alignment import cut_out
from handlers.base import Context, Range
from handlers.gallery import Face
from handlers.manifest import find, locate
from handlers.network import load
from handlers.pixels import scale, to_rgb
from handlers.recognizer import Recognizer, RecognizerParams
from handlers.types import Image

DIM = 512  # numbers per face


class FacenetRecognizeParams(RecognizerParams, frozen=True):
    """Parameters of handler type 15."""

    model: str = "facenet-casia"  # an id of the manifest
    dim: Annotated[int, Range(160, 160)] = 160  # pixels: side of the network's input, which is fixed
    margin: Annotated[int, Range(0, 128)] = 32  # of `dim`: how many pixels, both sides together, lie outside the box
    thresh: Annotated[float, Range(0.0, 2.0)] = 0.92  # largest distance of the same person


class FacenetEmbedder:
    """The network; raises Unavailable when its file is missing or damaged."""

    dim = DIM

    def __init__(self, model: str, side: int, margin: int, model_path: Path) -> None:
        self._network = load(model, model_path, cv2.dnn.readNetFromTensorflow)
        self._side, self._margin = side, margin
        self.identity = f"{find(model).sha256[:12]}-{side}-{margin}"

    def describe(self, face: Face) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
        """Return the vector of *face*, float64 (512,) of length 1, and its own landmarks."""
        cut = cut_out(face.picture, face.x, face.y, face.w, face.h, self._side, self._margin)
        return self.embed(cut), face.landmarks

    def embed(self, picture: Image) -> NDArray[np.float64]:
        """Return the vector of a face cut out (uint8 (side, side, 3) BGR): float64 (512,) of length 1."""
        self._network.setInput(prewhitened(to_rgb(picture)).transpose(2, 0, 1)[None])
        vector = np.asarray(self._network.forward(), np.float64).reshape(-1)
        return vector / max(float(np.linalg.norm(vector)), 1e-12)


def prewhitened(rgb: Image) -> NDArray[np.float32]:
    """Return *rgb* with mean 0 and deviation 1 over all its numbers, float32; as FaceNet was trained."""
    pixels = rgb.astype(np.float32)
    deviation = max(float(pixels.std()), 1 / float(np.sqrt(pixels.size)))
    return np.asarray((pixels - pixels.mean()) / deviation, np.float32)


class FacenetRecognizeHandler(Recognizer[FacenetRecognizeParams]):
    """Boxes with crops, or aligned faces -> Boxes; embedding float64 (512,), landmarks those of the detector."""

    params_type = FacenetRecognizeParams

    @classmethod
    def check(cls, params: Any, context: Context) -> None:
        """Raise Unavailable when the model is missing."""
        super().check(params, context)
        locate(params.model, context.model_path)

    def load(self) -> FacenetEmbedder:
        """Return the network, run once. Raises Unavailable."""
        p = self.params
        self._model = FacenetEmbedder(p.model, p.dim, p.margin, self.context.model_path)
        self._model.embed(np.zeros((p.dim, p.dim, 3), np.uint8))
        return self._model

    def describe_aligned(self, picture: Image) -> NDArray[np.float64]:
        """Return the vector of a face that MtcnnDetectFaceAlign has cut out with the same `dim` and `margin`."""
        return self._model.embed(scale(picture, self.params.dim, self.params.dim))
