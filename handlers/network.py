"""Networks on OpenCV: from the model folder, on one thread (each handler has a process of its own)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from handlers.base import Unavailable
from handlers.manifest import locate


def load(model_id: str, model_path: Path, read: Callable[[str], Any]) -> Any:
    """Return what *read* makes of the file of *model_id*. Raises Unavailable when it is missing or damaged.

    OpenCV's threads are set to one in this process: several handlers share the node's cores.
    """
    cv2.setNumThreads(1)
    path = locate(model_id, model_path)
    try:
        return read(str(path))
    except cv2.error as error:
        raise damaged(path, error.err or error) from error


def damaged(path: Path, why: object) -> Unavailable:
    """Return the error for a file that cannot be read."""
    return Unavailable(f"{path} is damaged ({why}); see `python3 -m handlers.models verify`")


def need_cuda(gpu: bool) -> None:
    """Raise Unavailable when *gpu* is asked of an OpenCV that was built without CUDA."""
    if gpu and not cv2.dnn.getAvailableTargets(cv2.dnn.DNN_BACKEND_CUDA):
        raise Unavailable("gpu: this OpenCV was built without CUDA, or there is no device; set gpu to false")


def on_gpu(net: Any, gpu: bool) -> Any:
    """Return *net*, set to run by CUDA when *gpu* is true."""
    if gpu:
        net.setPreferableBackend(cv2.dnn.DNN_BACKEND_CUDA)
        net.setPreferableTarget(cv2.dnn.DNN_TARGET_CUDA)
    return net
