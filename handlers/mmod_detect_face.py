"""MmodDetectFace: faces by dlib's CNN, as `face_recognition.face_locations(model="cnn")` calls it. Slow on a CPU."""

from typing import Annotated, Any

from handlers.base import Context, Range
from handlers.detector import FaceDetector, FaceDetectorParams, Found
from handlers.dlib_face import load_dlib
from handlers.hog_detect_face import clipped_rectangle, need_dlib
from handlers.manifest import locate
from handlers.pixels import to_rgb
from handlers.types import Boxes, Image

SMALLEST = 20  # pixels of a side: no face is that small, and dlib's network corrupts its memory at 8 and less


class MmodDetectFaceParams(FaceDetectorParams, frozen=True):
    """Parameters of handler type 10."""

    model: str = "mmod-face"  # an id of the manifest
    upsample: Annotated[int, Range(0, 3)] = 0  # times the picture is doubled: finds faces from 80 / 2**upsample pixels
    thresh: Annotated[float, Range(0.0, 10.0)] = 0.0  # smallest score; the network itself gives none below 0
    max_pixels: Annotated[int, Range(10_000, 100_000_000)] = 500_000  # after doubling; see FaceDetectorParams


class MmodDetectFaceHandler(FaceDetector[MmodDetectFaceParams]):
    """Image -> Boxes: those of face_locations(image, upsample, model="cnn"), clipped at the frame's edges."""

    params_type = MmodDetectFaceParams
    inputs, outputs = (Image,), (Boxes,)

    @classmethod
    def check(cls, params: Any, context: Context) -> None:
        """Raise Unavailable without dlib or the model."""
        need_dlib()
        locate(params.model, context.model_path)

    def prepare(self) -> None:
        """Load the network. Raises Unavailable."""
        need_dlib()
        import dlib

        self._network = load_dlib(dlib.cnn_face_detection_model_v1, self.params.model, self.context.model_path)

    def doublings(self) -> int:
        """Return `upsample`."""
        return self.params.upsample

    def find(self, image: Image) -> list[Found]:
        """Return the faces in *image* (uint8 (H, W, 3) BGR), best first."""
        height, width = image.shape[:2]
        if min(height, width) * 2**self.params.upsample < SMALLEST:
            return []
        found = self._network(to_rgb(image), self.params.upsample)
        return [
            clipped_rectangle(f.rect, float(f.confidence), width, height)
            for f in found
            if f.confidence >= self.params.thresh
        ]
