"""Reports wait on disk until the collector has them: one file per report, sent in the order of their names.

A file appears whole or not at all (written aside, synced, renamed). Over the limit the oldest go first, and are
counted. What the collector refuses is kept in `aside/` for people to look at, the newest KEPT_ASIDE of them.
One process at a time; any thread.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path

SUFFIX = ".json"
KEPT_ASIDE = 100


class Spool:
    """The folder *path*, made if need be, with at most *limit_bytes* of waiting reports. Raises OSError."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._path, self._limit = path, limit_bytes
        self._aside = path / "aside"
        self._aside.mkdir(parents=True, exist_ok=True)
        for unfinished in path.glob("*.tmp"):
            unfinished.unlink()
        self._sizes = {f.name: f.stat().st_size for f in sorted(path.glob("*" + SUFFIX))}  # in order
        self._next = 1 + max((_number(n) for n in [*self._sizes, *_names(self._aside)]), default=0)
        self._lock = threading.Lock()
        self.dropped = 0  # reports that made room for newer ones

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def size(self) -> int:
        """Bytes of the waiting reports."""
        return sum(list(self._sizes.values()))  # copied at once: another thread may ask

    def put(self, data: bytes) -> None:
        """Add a report behind all others; it is on the disk when this returns. Raises OSError."""
        with self._lock:
            name = f"{self._next:016d}{SUFFIX}"
            self._make_room(len(data))
            _write(self._path / name, data)
            self._next += 1
            self._sizes[name] = len(data)

    def first(self) -> tuple[str, bytes] | None:
        """Return name and content of the oldest report, or None. Raises OSError."""
        with self._lock:
            for name in list(self._sizes):
                try:
                    return name, (self._path / name).read_bytes()
                except FileNotFoundError:  # taken away by somebody
                    del self._sizes[name]
        return None

    def remove(self, name: str) -> None:
        """Forget a report that has arrived. Raises OSError."""
        with self._lock:
            self._remove(name)

    def set_aside(self, name: str) -> Path:
        """Keep a refused report out of the way and return where it is now. Raises OSError."""
        target = self._aside / name
        with self._lock, suppress(FileNotFoundError):  # it may just have made room
            self._sizes.pop(name, None)
            (self._path / name).replace(target)
        for old in _names(self._aside)[:-KEPT_ASIDE]:
            (self._aside / old).unlink(missing_ok=True)
        return target

    def _make_room(self, needed: int) -> None:
        size = self.size
        for name in list(self._sizes):
            if size + needed <= self._limit:
                return
            size -= self._sizes[name]
            self._remove(name)
            self.dropped += 1

    def _remove(self, name: str) -> None:
        (self._path / name).unlink(missing_ok=True)
        self._sizes.pop(name, None)


def _names(folder: Path) -> list[str]:
    return sorted(f.name for f in folder.glob("*" + SUFFIX))


def _number(name: str) -> int:
    stem = name.removesuffix(SUFFIX)
    return int(stem) if stem.isdigit() else 0


def _write(path: Path, data: bytes) -> None:
    """Write *path* so that it is whole or absent after a crash."""
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
