"""What the handlers' tests share: where the samples are, and the type of the fixture that makes handlers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "samples"
Make = Callable[..., Any]
