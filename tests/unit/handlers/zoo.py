"""The handlers that need fetched models, made once per test run; tests skip, with the reason, where a model is not."""

import atexit
import contextlib
import hashlib
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from handlers import manifest
from handlers.base import Context, Handler, Unavailable, load_class, read_params
from handlers.manifest import Model
from handlers.verified import NOTES
from tests.handler_support import ROOT, SAMPLES
from tests.unit.handlers.torch_file import small_network

MODELS = ROOT / "models"
TOY = "openface-toy"

DETECTORS = {
    "haar": ("haar_detect_face:HaarDetectFaceHandler", {"min_size": 60}),
    "hog": ("hog_detect_face:HogDetectFaceHandler", {}),
    "mmod": ("mmod_detect_face:MmodDetectFaceHandler", {}),
    "mtcnn": ("mtcnn_detect_face_align:MtcnnDetectFaceAlignHandler", {}),
    "yunet": ("yunet_detect_face:YunetDetectFaceHandler", {}),
}
RECOGNIZERS = {
    "dlib": ("dlib_align_recognize:DlibAlignRecognizeHandler", {}),
    "facenet": ("facenet_recognize:FacenetRecognizeHandler", {}),
    "sface": ("sface_recognize:SfaceRecognizeHandler", {}),
    "openface": ("openface_recognize:OpenfaceRecognizeHandler", {"model": TOY}),
}
OBJECTS = {
    "yolo": ("yolo_detect_object:YoloDetectObjectHandler", {}),
    "ssd": (
        "yolo_detect_object:YoloDetectObjectHandler",
        {"config": "ssd-mobilenet-v2-graph", "weights": "ssd-mobilenet-v2", "size": 300},
    ),
    "nanodet": ("onnx_detect_object:OnnxDetectObjectHandler", {}),
}


@cache
def folder() -> Path:
    """Return a folder with links to the fetched models and a small OpenFace-like network, which joins the manifest."""
    made = Path(tempfile.mkdtemp(prefix="faceservice-zoo-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    (made / NOTES).mkdir()
    for path in MODELS.iterdir() if MODELS.is_dir() else ():
        if path.is_file() and not path.name.startswith("."):
            (made / path.name).symlink_to(path)
            with contextlib.suppress(FileNotFoundError):  # not read through yet
                shutil.copy(MODELS / NOTES / path.name, made / NOTES)  # so that it is not in every run
    toy = small_network()
    (made / "toy.t7").write_bytes(toy)
    digest = hashlib.sha256(toy).hexdigest()
    model = Model(id=TOY, file="toy.t7", bytes=len(toy), sha256=digest, licence="none", sources=[])
    known = manifest.manifest().models
    if TOY not in {m.id for m in known}:
        known.append(model)

    return made


@cache
def made(group: str, name: str, **params: Any) -> Handler[Any]:
    """Return the handler *name* of *group* ("DETECTORS", ...), prepared, with the samples' gallery."""
    where, fixed = globals()[group][name]
    cls = load_class(f"handlers.{where}")
    context = Context(folder(), SAMPLES / "gallery", cache_path=folder() / "gallery-cache")
    try:
        handler = cls(read_params(cls, fixed | params), context)
        cls.check(handler.params, context)
        handler.prepare()
    except Unavailable as error:
        pytest.skip(f"{error} (scripts/setup --models all)")
    return handler
