"""DlibAlignRecognize: names of faces by dlib's ResNet, as the face_recognition package computes them."""

from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np

from handlers.base import Context, FrameError, Handler, Params, Range, Unavailable
from handlers.dlib_face import FaceEmbedder, check_models
from handlers.gallery import BUDGET_S, Gallery
from handlers.pixels import to_rgb
from handlers.types import Box, Boxes

UNKNOWN = "unknown"


class DlibAlignRecognizeParams(Params, frozen=True):
    """Parameters of handler type 13."""

    predictor: Literal["5", "68"] = "5"  # landmarks for the alignment: face_recognition's "small" and "large"
    model: str = "dlib-resnet-v1"  # an id of the manifest
    gallery: str = ""  # empty: the node's gallery folder
    jitters: Annotated[int, Range(1, 100)] = 1  # distorted copies averaged per face; each costs a run of the network
    thresh: Annotated[float, Range(0.0, 2.0)] = 0.6  # largest distance of the same person (dlib's own figure)


class DlibAlignRecognizeHandler(Handler[DlibAlignRecognizeParams]):
    """Boxes with crops -> Boxes with label, distance, embedding and landmarks, without crops."""

    params_type = DlibAlignRecognizeParams
    inputs, outputs = (Boxes,), (Boxes,)

    @classmethod
    def check(cls, params: Any, context: Context) -> None:
        """Raise Unavailable when dlib or a model file is missing, or a gallery is named."""
        if params.gallery:
            raise Unavailable(f"gallery {params.gallery!r}: only the node's own folder is known (leave it empty)")
        check_models(params.predictor, params.model, context.model_path)

    def prepare(self) -> None:
        """Load the models and the gallery. Raises Unavailable."""
        self.check(self.params, self.context)
        self._embedder = FaceEmbedder(self.params.predictor, self.params.model, self.context.model_path)
        cache = self.context.cache_path or self.context.model_path / "gallery-cache"
        self._gallery = Gallery(self.context.gallery_path, cache, self._embedder)
        self._gallery.refresh()

    def execute(self, boxes: Boxes) -> Boxes:
        """Return *boxes* with names: the nearest known face, or "unknown" when it is farther than `thresh`.

        The distance is that to the nearest face either way, None with an empty gallery. Embedding: float64 (128,).
        Landmarks: int32 (5 or 68, 2) in pixels of the frame. Raises FrameError for boxes without a crop.
        """
        self._gallery.refresh(BUDGET_S)
        return Boxes(self._recognize(box) for box in boxes)

    def _recognize(self, box: Box) -> Box:
        if box.crop is None or box.crop_x is None or box.crop_y is None:
            raise FrameError(f"box at {box.x},{box.y} has no crop: set with_crop on the detector")
        rgb = to_rgb(box.crop)
        left, top = box.crop_x, box.crop_y
        vector, points = self._embedder.describe(rgb, box.x - left, box.y - top, box.w, box.h, self.params.jitters)
        label, distance = self._gallery.nearest(vector) or (UNKNOWN, None)
        return replace(
            box,
            label=UNKNOWN if distance is None or distance > self.params.thresh else label,
            distance=distance,
            crop=None,
            crop_x=None,
            crop_y=None,
            embedding=vector,
            landmarks=points + np.array([left, top], np.int32),
        )
