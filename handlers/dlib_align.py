"""DlibAlign: faces cut out so that eyes and nose, or eyes and mouth, come to lie where OpenFace wants them.

The places are those of OpenFace (Amos, Ludwiczuk, Satyanarayanan 2016): means of iBUG's 68 landmarks over faces.
"""

from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np

from handlers.base import Context, Handler, Params, Range
from handlers.hog_detect_face import need_dlib
from handlers.landmarks68 import Indices, LandmarkAligner
from handlers.manifest import locate
from handlers.recognizer import face_of
from handlers.types import Box, Boxes


class DlibAlignParams(Params, frozen=True):
    """Parameters of handler type 11."""

    predictor: Literal["dlib-landmarks-68"] = "dlib-landmarks-68"  # an id of the manifest
    indices: Indices = "outer_eyes_and_nose"  # which three landmarks are laid over the template
    dim: Annotated[int, Range(16, 1024)] = 96  # pixels: side of the faces cut out


class DlibAlignHandler(Handler[DlibAlignParams]):
    """Boxes with crops -> Boxes whose crops are aligned faces (dim, dim, 3), with landmarks, int32 (68, 2)."""

    params_type = DlibAlignParams
    inputs, outputs = (Boxes,), (Boxes,)

    @classmethod
    def check(cls, params: Any, context: Context) -> None:
        """Raise Unavailable without dlib or the predictor."""
        need_dlib()
        locate(params.predictor, context.model_path)

    def prepare(self) -> None:
        """Load the predictor. Raises Unavailable."""
        p = self.params
        self._aligner = LandmarkAligner(p.predictor, p.indices, p.dim, self.context.model_path)

    def execute(self, boxes: Boxes) -> Boxes:
        """Return *boxes* with aligned crops, without crop_x and crop_y. Raises FrameError for boxes without a crop."""
        return Boxes(self._align(box) for box in boxes)

    def _align(self, box: Box) -> Box:
        face = face_of(box)
        picture, points = self._aligner.align(face.picture, face.x, face.y, face.w, face.h)
        marks = points + np.array([face.left, face.top], np.int32)
        return replace(box, crop=picture, crop_x=None, crop_y=None, landmarks=marks)
