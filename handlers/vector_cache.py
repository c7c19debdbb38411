"""Vectors of gallery pictures on disk: one .npz each, arrays only, never pickle. A lost cache costs time, no more."""

import logging
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)


def load(path: Path, dim: int) -> NDArray[np.float64] | None:
    """Return the vector in *path*, float64 (*dim*,), or (0,) for a picture without a face; None when unreadable."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            vector = arrays["vector"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        logger.warning("cached vector %s is unreadable and computed again: %s", path, error)
        return None
    if vector.dtype != np.float64 or vector.shape not in ((dim,), (0,)) or not np.isfinite(vector).all():
        return None
    return np.array(vector, np.float64)


def save(path: Path, vector: NDArray[np.float64]) -> None:
    """Write *vector* to *path*, all or nothing; other processes may write the same. A failure is only logged."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".part", delete=False) as file:
            np.savez(file, vector=vector)
        os.replace(file.name, path)
    except OSError as error:
        logger.warning("cannot keep a vector in %s: %s", path, error)
