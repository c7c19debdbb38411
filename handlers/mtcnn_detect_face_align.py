"""MtcnnDetectFaceAlign: faces with landmarks by the MTCNN cascade; crops cut to size for a recognizer when asked."""

from dataclasses import replace
from typing import Annotated, Any

import numpy as np

from handlers.alignment import face_picture
from handlers.base import Context, Range
from handlers.detector import FaceDetector, FaceDetectorParams, Found
from handlers.manifest import locate
from handlers.mtcnn import STAGES, Mtcnn
from handlers.pixels import to_rgb
from handlers.types import Boxes, Image


class MtcnnDetectFaceAlignParams(FaceDetectorParams, frozen=True):
    """Parameters of handler type 12."""

    model: str = "mtcnn"  # ids of the manifest begin with it: mtcnn-pnet, mtcnn-rnet, mtcnn-onet
    min_size: Annotated[int, Range(12, 8192)] = 20  # pixels: smallest face
    thresh: Annotated[float, Range(0.0, 1.0)] = 0.7  # smallest score that the second and third network let pass
    align: bool = False  # crops are cut to `dim` x `dim` with `margin` instead of being the frame around the box
    dim: Annotated[int, Range(16, 1024)] = 160  # pixels: side of aligned crops
    margin: Annotated[int, Range(0, 256)] = 32  # of `dim`: how many pixels, both sides together, lie outside the box


class MtcnnDetectFaceAlignHandler(FaceDetector[MtcnnDetectFaceAlignParams]):
    """Image -> Boxes with landmarks, float32 (5, 2): eyes, nose tip, mouth corners. The score is from 0 to 1."""

    params_type = MtcnnDetectFaceAlignParams
    inputs, outputs = (Image,), (Boxes,)

    @classmethod
    def check(cls, params: Any, context: Context) -> None:
        """Raise Unavailable when one of the three networks is missing."""
        for stage in STAGES:
            locate(f"{params.model}-{stage}", context.model_path)

    def prepare(self) -> None:
        """Load the networks and run them once. Raises Unavailable."""
        thresh = self.params.thresh
        self._network = Mtcnn(self.params.model, self.context.model_path, (min(0.6, thresh), thresh, thresh))
        self.find(np.zeros((48, 48, 3), np.uint8))

    def find(self, image: Image) -> list[Found]:
        """Return the faces in *image* (uint8 (H, W, 3) BGR), best first."""
        rows, points = self._network.detect(to_rgb(image), self.params.min_size)
        found = []
        for (x0, y0, x1, y1, score), landmarks in zip(rows.tolist(), points, strict=True):
            x, y = round(x0), round(y0)
            found.append(Found(score, x, y, round(x1) - x, round(y1) - y, landmarks=landmarks))
        return found

    def execute(self, value: Image | Boxes) -> Boxes:
        """Return boxes in pixels of the frame; crops as `align` says. Raises FrameError for Boxes without crops."""
        boxes = super().execute(value)
        p = self.params
        if not (p.align and p.with_crop):
            return boxes
        return Boxes(replace(box, crop=face_picture(box, p.dim, p.margin), crop_x=None, crop_y=None) for box in boxes)
