"""Reports wait on disk until the collector has them: one file per report, sent in the order of their names.

A file appears whole or not at all (written aside, synced, renamed). Over the limit the oldest go first, and are
counted. What the collector refuses is kept in `aside/` for people to look at, the newest KEPT_ASIDE of them.
While the disk takes nothing (full, read-only) reports wait in memory, in their turn, MEMORY_BYTES of them at most, and
go to the disk as soon as it takes them; files that it does not let go of are removed later. One process at a time; any
thread.
"""

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

SUFFIX = ".json"
KEPT_ASIDE = 100
MEMORY_BYTES = 16 << 20  # about 4 minutes of a busy node, hours of a calm one


class Spool:
    """The folder *path*, made if need be, with at most *limit_bytes* of waiting reports. Raises OSError."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._path, self._limit = path, limit_bytes
        self._aside = path / "aside"
        self._aside.mkdir(parents=True, exist_ok=True)
        for unfinished in path.glob("*.tmp"):
            unfinished.unlink()
        self._sizes = {f.name: f.stat().st_size for f in sorted(path.glob("*" + SUFFIX))}  # in order
        self._memory: dict[str, bytes] = {}  # waiting reports that the disk did not take, in order
        self._removable: set[str] = set()  # files of reports that are done, which the disk did not let go of
        self._next = 1 + max((_number(n) for n in [*self._sizes, *_names(self._aside)]), default=0)
        self._lock = threading.Lock()
        self.dropped = 0  # reports that made room for newer ones

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def size(self) -> int:
        """Bytes of the waiting reports."""
        return sum(list(self._sizes.values()))  # copied at once: another thread may ask

    def put(self, data: bytes) -> OSError | None:
        """Add a report behind all others; returns None when it is on the disk, or why it waits in memory."""
        with self._lock:
            name = f"{self._next:016d}{SUFFIX}"
            self._next += 1
            self._make_room(list(self._sizes), self.size + len(data) - self._limit)
            self._sizes[name] = len(data)
            self._memory[name] = data
            fault = self._write_down()
            self._make_room(list(self._memory), sum(map(len, self._memory.values())) - MEMORY_BYTES)
            return fault

    def first(self) -> tuple[str, bytes] | None:
        """Return name and content of the oldest report, or None. Raises OSError."""
        with self._lock:
            for name in list(self._sizes):
                if name in self._memory:
                    return name, self._memory[name]
                try:
                    return name, (self._path / name).read_bytes()
                except FileNotFoundError:  # taken away by somebody
                    del self._sizes[name]
        return None

    def remove(self, name: str) -> None:
        """Forget a report that has arrived."""
        with self._lock:
            self._remove(name)

    def set_aside(self, name: str) -> Path:
        """Keep a refused report out of the way and return where it is now. Raises OSError."""
        target = self._aside / name
        with self._lock, suppress(FileNotFoundError):  # it may just have made room
            data = self._memory.get(name)
            if data is not None:
                _write(target, data)
            else:
                (self._path / name).replace(target)
            self._sizes.pop(name, None)
            self._memory.pop(name, None)
        for old in _names(self._aside)[:-KEPT_ASIDE]:
            (self._aside / old).unlink(missing_ok=True)
        return target

    def _write_down(self) -> OSError | None:
        """Bring to the disk what waits in memory, oldest first, as far as it goes; returns why it went no further."""
        try:
            for name in list(self._memory):
                _write(self._path / name, self._memory[name])
                del self._memory[name]
            for name in list(self._removable):
                (self._path / name).unlink(missing_ok=True)
                self._removable.discard(name)
        except OSError as error:
            return error
        return None

    def _make_room(self, names: Sequence[str], excess: int) -> None:
        """Drop so many of *names*, from the first on, that *excess* bytes are gone."""
        for name in names:
            if excess <= 0:
                return
            excess -= self._sizes[name]
            self._remove(name)
            self.dropped += 1

    def _remove(self, name: str) -> None:
        self._sizes.pop(name, None)
        if self._memory.pop(name, None) is None:
            self._unlink(name)

    def _unlink(self, name: str) -> None:
        try:
            (self._path / name).unlink(missing_ok=True)
        except OSError:
            self._removable.add(name)


def _names(folder: Path) -> list[str]:
    return sorted(f.name for f in folder.glob("*" + SUFFIX))


def _number(name: str) -> int:
    stem = name.removesuffix(SUFFIX)
    return int(stem) if stem.isdigit() else 0


def _write(path: Path, data: bytes) -> None:
    """Write *path* so that it is whole or absent after a crash. Raises OSError, and then leaves nothing half."""
    unfinished = path.with_suffix(".tmp")
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
