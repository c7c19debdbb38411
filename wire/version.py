"""The product's version, as pyproject.toml has it."""

import tomllib
from functools import cache
from pathlib import Path


@cache
def version() -> str:
    """Return it, like 0.1.0."""
    file = Path(__file__).resolve().parent.parent / "pyproject.toml"
    return str(tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"])
