"""Fixtures of the handlers' tests: the models of the installed package, sample pictures, handlers made as nodes do."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from handlers.base import Context, Handler, read_params
from handlers.types import Image
from tests.handler_support import SAMPLES, Make


@pytest.fixture(scope="session")
def model_path() -> Path:
    """Return the folder of model files that the face_recognition_models package brings (never imported)."""
    spec = find_spec("face_recognition_models")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "models"


@pytest.fixture(scope="session")
def cache_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder where the sample gallery's vectors are kept for the session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def make(model_path: Path, cache_path: Path) -> Iterator[Make]:
    """Return a function that makes and prepares a handler; it is finished after the test."""
    made: list[Handler[Any]] = []

    def maker(cls: type[Handler[Any]], gallery: Path | None = None, **params: Any) -> Handler[Any]:
        context = Context(model_path=model_path, gallery_path=gallery, cache_path=cache_path)
        handler = cls(read_params(cls, params), context)
        cls.check(handler.params, context)
        handler.prepare()
        made.append(handler)
        return handler

    yield maker
    for handler in made:
        handler.finish()


@pytest.fixture(scope="session")
def photos() -> dict[str, Image]:
    """Return the sample photos by name, BGR, read-only as frames are."""
    found = {}
    for path in sorted((SAMPLES / "photos").glob("*.jpg")):
        image = np.asarray(cv2.imread(str(path)), np.uint8)
        image.flags.writeable = False
        found[path.stem] = image
    return found
