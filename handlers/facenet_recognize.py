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
from handlers.mtcnn import CELL, STAGES, Mtcnn
from handlers.network import load
from handlers.pixels import scale, to_rgb
from handlers.recognizer import Recognizer, RecognizerParams
from handlers.types import Image

DIM = 512  # numbers per face
LANDMARKS = 5  # of the detectors whose boxes are like MTCNN's: itself and YuNet
MTCNN_THRESHOLDS = (0.6, 0.7, 0.7)


class FacenetRecognizeParams(RecognizerParams, frozen=True):
    """Parameters of handler type 15."""

    model: str = "facenet-casia"  # an id of the manifest
    boxes: str = "mtcnn"  # ids of the manifest begin with it: finds the box anew where the detector is of another kind
    dim: Annotated[int, Range(160, 160)] = 160  # pixels: side of the network's input, which is fixed
    margin: Annotated[int, Range(0, 128)] = 32  # of `dim`: how many pixels, both sides together, lie outside the box
    thresh: Annotated[float, Range(0.0, 2.0)] = 0.92  # largest distance of the same person


class FacenetEmbedder:
    """MTCNN and FaceNet; raises Unavailable when a file is missing or damaged.

    FaceNet was trained on MTCNN's boxes, chin to hair. HOG's, MMOD's and Haar's are other cuts of a face, which moves
    one person's vectors apart (0.85 -> 1.1); so where a face comes without five landmarks, MTCNN draws the box.
    """

    dim = DIM

    def __init__(self, model: str, boxes: str, side: int, margin: int, model_path: Path) -> None:
        self._mtcnn = Mtcnn(boxes, model_path, MTCNN_THRESHOLDS)
        self._network = load(model, model_path, cv2.dnn.readNetFromTensorflow)
        self._side, self._margin = side, margin
        known = find(f"{boxes}-{STAGES[-1]}").sha256[:12]
        self.identity = f"{known}-{find(model).sha256[:12]}-{side}-{margin}"

    def describe(self, face: Face) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
        """Return the vector of *face*, float64 (512,) of length 1, and its own landmarks."""
        cut = cut_out(face.picture, *self._place(face), self._side, self._margin)
        return self.embed(cut), face.landmarks

    def _place(self, face: Face) -> tuple[int, int, int, int]:
        """Return x, y, w, h of the face as MTCNN draws it; as it came where it has landmarks, or MTCNN sees none."""
        given = (face.x, face.y, face.w, face.h)
        if face.landmarks is not None and len(face.landmarks) == LANDMARKS:
            return given
        rows, _ = self._mtcnn.detect(to_rgb(face.picture), max(CELL, min(face.w, face.h) // 2))
        drawn = [
            (round(x0), round(y0), round(x1) - round(x0), round(y1) - round(y0)) for x0, y0, x1, y1, _ in rows.tolist()
        ]
        best = max(drawn, key=lambda place: shared(place, given), default=None)
        return best if best is not None and shared(best, given) * 3 > face.w * face.h else given

    def embed(self, picture: Image) -> NDArray[np.float64]:
        """Return the vector of a face cut out (uint8 (side, side, 3) BGR): float64 (512,) of length 1."""
        self._network.setInput(prewhitened(to_rgb(picture)).transpose(2, 0, 1)[None])
        vector = np.asarray(self._network.forward(), np.float64).reshape(-1)
        return vector / max(float(np.linalg.norm(vector)), 1e-12)


def shared(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> int:
    """Return the area that two boxes (x, y, w, h) share."""
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(0, wide) * max(0, high)


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
        for stage in STAGES:
            locate(f"{params.boxes}-{stage}", context.model_path)

    def load(self) -> FacenetEmbedder:
        """Return the network, run once. Raises Unavailable."""
        p = self.params
        self._model = FacenetEmbedder(p.model, p.boxes, p.dim, p.margin, self.context.model_path)
        self._model.embed(np.zeros((p.dim, p.dim, 3), np.uint8))
        return self._model

    def describe_aligned(self, picture: Image) -> NDArray[np.float64]:
        """Return the vector of a face that MtcnnDetectFaceAlign has cut out with the same `dim` and `margin`."""
        return self._model.embed(scale(picture, self.params.dim, self.params.dim))
