"""What a handler is doing just now, in a small file that outlives the handler.

The handler's process writes, the agent reads: after a death it tells the frame to blame, before one it tells a
stuck handler. One writer, and readers that read twice, so no lock.
"""

import mmap
import struct
import time
from dataclasses import dataclass
from pathlib import Path

PROGRESS = "handlers"  # folder in the agent's folder: these files, which all handlers may read
_LAYOUT = struct.Struct("<qdqqq")  # sequence or -1, since (monotonic s), frames done, packets waiting, last


@dataclass(frozen=True, slots=True)
class Progress:
    """A reading: sequence is None while the handler waits; since is time.monotonic() of its start.

    last: sequence of the frame that came to its end here most recently, -1 before the first.
    """

    sequence: int | None
    since: float
    frames: int
    waiting: int
    last: int = -1


class ProgressFile:
    """The file of one handler's process."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if create:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.write_bytes(_LAYOUT.pack(-1, time.monotonic(), 0, 0, -1))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _LAYOUT.size)
        before = self.read()
        self.frames = before.frames
        self._last = before.last

    def begin(self, sequence: int, waiting: int) -> None:
        """Note that the handler works on *sequence* (of a batch: its first) while *waiting* packets are queued."""
        _LAYOUT.pack_into(self._map, 0, sequence, time.monotonic(), self.frames, waiting, self._last)

    def end(self, waiting: int, last: int, frames: int = 1) -> None:
        """Note that the handler waits again, after *frames* frames up to *last*."""
        self.frames += frames
        self._last = last
        _LAYOUT.pack_into(self._map, 0, -1, time.monotonic(), self.frames, waiting, last)

    def passed(self, last: int) -> None:
        """Note a frame that went by without being executed."""
        self._last = last
        _LAYOUT.pack_into(self._map, 0, -1, time.monotonic(), self.frames, 0, last)

    def read(self) -> Progress:
        """Return what the handler does now: read until it looks the same twice, since the writer may be at it."""
        before = b""
        while (now := self._map[: _LAYOUT.size]) != before:
            before = now
        return _progress(now)

    def close(self) -> None:
        """Unmap; the file stays."""
        self._map.close()


def _progress(data: bytes) -> Progress:
    sequence, since, frames, waiting, last = _LAYOUT.unpack(data)
    return Progress(None if sequence < 0 else sequence, since, frames, waiting, last)


def last_done(run_path: str | Path, session_id: int, handler_id: int) -> int | None:
    """Return the sequence that a handler of this node finished last, or None. Without mapping: files come and go."""
    try:
        data = progress_path(run_path, session_id, handler_id).read_bytes()
    except FileNotFoundError:
        return None
    if len(data) != _LAYOUT.size:  # just being made
        return None
    last = _progress(data).last
    return None if last < 0 else last


def progress_path(run_path: str | Path, session_id: int, handler_id: int) -> Path:
    """Return where a handler's process keeps its file: the agent makes it before it starts the process."""
    return Path(run_path) / PROGRESS / f"progress-{session_id}-{handler_id}"
