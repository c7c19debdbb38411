"""HogDetectFace: faces by dlib's histogram-of-gradients detector, as `face_recognition.face_locations` calls it.

Only the detector is loaded here: importing face_recognition itself would load every model it has (140 MB).
"""

from importlib.util import find_spec
from typing import Annotated, Any

from handlers.base import Context, Range, Unavailable
from handlers.detector import FaceDetector, FaceDetectorParams, Found
from handlers.pixels import to_rgb
from handlers.types import Boxes, Image


class HogDetectFaceParams(FaceDetectorParams, frozen=True):
    """Parameters of handler type 9."""

    upsample: Annotated[int, Range(0, 3)] = 1  # times the picture is doubled: finds faces from 80 / 2**upsample pixels
    max_pixels: Annotated[int, Range(10_000, 100_000_000)] = 16_000_000  # after doubling; see FaceDetectorParams


class HogDetectFaceHandler(FaceDetector[HogDetectFaceParams]):
    """Image -> Boxes: those of face_locations(image, upsample, model="hog"), clipped at the frame's edges.

    The score is the detector's margin above its threshold (0 and more; clear faces have 1 to 3).
    """

    params_type = HogDetectFaceParams
    inputs, outputs = (Image,), (Boxes,)

    @classmethod
    def check(cls, params: Any, context: Context) -> None:
        """Raise Unavailable without dlib."""
        need_dlib()

    def prepare(self) -> None:
        """Make the detector; it is compiled into dlib. Raises Unavailable without dlib."""
        self._detector = frontal_face_detector()

    def doublings(self) -> int:
        """Return `upsample`."""
        return self.params.upsample

    def find(self, image: Image) -> list[Found]:
        """Return the faces in *image* (uint8 (H, W, 3) BGR); the detector gets it in RGB, as face_recognition does."""
        return find_faces(self._detector, to_rgb(image), self.params.upsample)


def need_dlib() -> None:
    """Raise Unavailable when dlib is not installed."""
    if find_spec("dlib") is None:
        raise Unavailable("dlib is not installed: pip install dlib-bin")


def frontal_face_detector() -> Any:
    """Return dlib's detector of frontal faces. Raises Unavailable without dlib."""
    need_dlib()
    import dlib

    return dlib.get_frontal_face_detector()


def find_faces(detector: Any, rgb: Image, upsample: int) -> list[Found]:
    """Return the faces that *detector* sees in *rgb* (uint8 (H, W, 3) RGB), in its order.

    x, y, w, h are face_recognition's (left, top, right - left, bottom - top) after its clipping.
    """
    height, width = rgb.shape[:2]
    rects, scores, _ = detector.run(rgb, upsample, 0.0)
    return [clipped_rectangle(rect, score, width, height) for rect, score in zip(rects, scores, strict=True)]


def clipped_rectangle(rect: Any, score: float, width: int, height: int) -> Found:
    """Return dlib's *rect*, clipped as face_recognition does, in a picture of *width* x *height*."""
    x, y = max(rect.left(), 0), max(rect.top(), 0)
    return Found(score, x, y, min(rect.right(), width) - x, min(rect.bottom(), height) - y)
