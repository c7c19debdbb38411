"""YunetDetectFace: faces with landmarks by a small network; fast on a CPU."""

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from handlers.base import Context, Range
from handlers.detector import FaceDetector, FaceDetectorParams, Found
from handlers.manifest import locate
from handlers.types import Boxes, Image
from handlers.yunet import SCORE, Yunet


class YunetDetectFaceParams(FaceDetectorParams, frozen=True):
    """Parameters of handler type 18."""

    model: str = "yunet-int8"  # an id of the manifest: yunet-int8 or yunet
    thresh: Annotated[float, Range(0.0, 1.0)] = 0.6  # smallest score
    nms: Annotated[float, Range(0.0, 1.0)] = 0.3  # of two boxes that overlap by more (IoU), the better one stays


class YunetDetectFaceHandler(FaceDetector[YunetDetectFaceParams]):
    """Image -> Boxes with landmarks, float32 (5, 2): eyes, nose tip, mouth corners. The score is from 0 to 1."""

    params_type = YunetDetectFaceParams
    inputs, outputs = (Image,), (Boxes,)

    @classmethod
    def check(cls, params: Any, context: Context) -> None:
        """Raise Unavailable when the model is missing."""
        locate(params.model, context.model_path)

    def prepare(self) -> None:
        """Load the network and run it once. Raises Unavailable."""
        self._network = Yunet(self.params.model, self.context.model_path, self.params.thresh, self.params.nms)
        self.find(np.zeros((64, 64, 3), np.uint8))

    def find(self, image: Image) -> list[Found]:
        """Return the faces in *image* (uint8 (H, W, 3) BGR), best first; corners are rounded down, as OpenCV draws."""
        return [_found(row) for row in self._network.rows(image)]


def _found(row: NDArray[np.float32]) -> Found:
    x, y, w, h = (int(v) for v in row[:4])
    return Found(float(row[SCORE]), x, y, w, h, landmarks=row[4:SCORE].reshape(5, 2).copy())
