"""Shared memory of a test's own."""

import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.transport.channel import SHM, Channel, sweep


@dataclass
class Place:
    """A channel of its own in a folder of its own."""

    name: str
    path: Path
    channel: Channel

    def left(self) -> list[str]:
        return [p.name for p in SHM.glob(f"{self.name}*")]


@pytest.fixture
def place() -> Iterator[Place]:
    name = f"fstest{uuid.uuid4().hex[:10]}"
    with tempfile.TemporaryDirectory(prefix="fs") as folder:  # pytest's folders are too long for a Unix socket's name
        yield Place(name, Path(folder), Channel(name, Path(folder)))
        sweep(name, Path(folder))
