"""DlibAlignRecognize: names of faces by dlib's ResNet, as the face_recognition package computes them."""

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from handlers.base import Context, Range
from handlers.dlib_face import FaceEmbedder, check_models
from handlers.gallery import Face
from handlers.recognizer import Recognizer, RecognizerParams


class DlibAlignRecognizeParams(RecognizerParams, frozen=True):
    """Parameters of handler type 13."""

    predictor: Literal["5", "68"] = "5"  # landmarks for the alignment: face_recognition's "small" and "large"
    model: str = "dlib-resnet-v1"  # an id of the manifest
    jitters: Annotated[int, Range(1, 100)] = 1  # distorted copies averaged per face; each costs a run of the network
    thresh: Annotated[float, Range(0.0, 2.0)] = 0.6  # largest distance of the same person (dlib's own figure)


class DlibAlignRecognizeHandler(Recognizer[DlibAlignRecognizeParams]):
    """Boxes with crops -> Boxes; embedding float64 (128,), landmarks int32 (5 or 68, 2) in pixels of the frame."""

    params_type = DlibAlignRecognizeParams

    @classmethod
    def check(cls, params: Any, context: Context) -> None:
        """Raise Unavailable when dlib or a model file is missing."""
        super().check(params, context)
        check_models(params.predictor, params.model, context.model_path)

    def load(self) -> FaceEmbedder:
        """Return the landmark predictor with the network. Raises Unavailable."""
        self._model = FaceEmbedder(self.params.predictor, self.params.model, self.context.model_path)
        return self._model

    def describe(self, face: Face) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Return the vector, float64 (128,), averaged over the jitters, and the landmarks, int32 (n, 2)."""
        return self._model.describe(face, self.params.jitters)
