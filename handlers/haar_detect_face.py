"""HaarDetectFace: faces by OpenCV's cascade of boosted Haar features (Viola and Jones, 2001)."""

from pathlib import Path
from typing import Annotated

import cv2
import cv2.data

from handlers.base import Range, Unavailable
from handlers.detector import FaceDetector, FaceDetectorParams, Found
from handlers.types import Boxes, Image

CASCADE = "haarcascade_frontalface_default.xml"  # comes with OpenCV < 5


class HaarDetectFaceParams(FaceDetectorParams, frozen=True):
    """Parameters of handler type 8."""

    scale_factor: Annotated[float, Range(1.01, 4.0)] = 1.1  # between two sizes of the search
    min_neighbors: Annotated[int, Range(0, 100)] = 3  # overlapping windows that a face needs
    min_size: Annotated[int, Range(1, 8192)] = 20  # pixels: smallest face; the cascade itself sees no less than 24


class HaarDetectFaceHandler(FaceDetector[HaarDetectFaceParams]):
    """Image -> Boxes. The score is the number of windows that agree on the face, so its scale is open above."""

    params_type = HaarDetectFaceParams
    inputs, outputs = (Image,), (Boxes,)

    def prepare(self) -> None:
        """Load the cascade. Raises Unavailable when this OpenCV brings none."""
        self._cascade = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / CASCADE))
        if self._cascade.empty():
            raise Unavailable(f"OpenCV {cv2.__version__} does not bring {CASCADE}")

    def find(self, image: Image) -> list[Found]:
        """Return the faces in *image* (uint8 (H, W, 3) BGR), searched in its equalised grey version."""
        grey = cv2.equalizeHist(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
        p = self.params
        rects, counts = self._cascade.detectMultiScale2(
            grey, scaleFactor=p.scale_factor, minNeighbors=p.min_neighbors, minSize=(p.min_size, p.min_size)
        )
        return [Found(float(n), int(x), int(y), int(w), int(h)) for (x, y, w, h), n in zip(rects, counts, strict=True)]
