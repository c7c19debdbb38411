"""A session's accounts in a small memory-mapped file that outlives the gateway.

    frames_in = delivered + dropped (by reason) + in_flight

in_flight is never stored: it is what is left, so the books balance at any moment, whatever dies. Only the gateway
writes; a new gateway that finds open frames books them as dropped, because nobody can answer them any more.
"""

import mmap
import struct
from pathlib import Path

from wire.messages import Books

_HEAD = struct.Struct("<8sQQQQ")  # magic, next_sequence, frames_in, delivered, resent
_NAME = 24  # bytes of a reason
_REASON = struct.Struct(f"<{_NAME}sQ")  # reason (ASCII, zero-padded), frames
_REASONS = 16
_SIZE = _HEAD.size + _REASONS * _REASON.size
_MAGIC = b"FSBOOKS1"
OTHER = "other"  # the last row, for reasons beyond the table


class BooksFile:
    """Counters of one session. Not thread-safe: the entry's lock guards it."""

    def __init__(self, path: Path, first_sequence: int = 0) -> None:
        """Open or make the file; open frames of a predecessor become dropped: gateway_lost."""
        if not _is_ours(path):
            path.write_bytes(_HEAD.pack(_MAGIC, 0, 0, 0, 0).ljust(_SIZE, b"\0"))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)
        head: tuple[bytes, int, int, int, int] = _HEAD.unpack_from(self._map)
        _, self.next_sequence, self.frames_in, self.delivered, self.resent = head
        self.dropped = self._read_reasons()
        if open_frames := self.in_flight:
            self.drop("gateway_lost", open_frames)
        self.next_sequence = max(self.next_sequence, first_sequence)

    @property
    def in_flight(self) -> int:
        """Frames taken and not yet answered."""
        return self.frames_in - self.delivered - sum(self.dropped.values())

    def take(self) -> int:
        """Count a frame in; returns its sequence."""
        sequence = self.next_sequence
        self.next_sequence += 1
        self.frames_in += 1
        self._write_head()
        return sequence

    def deliver(self) -> None:
        """Count a frame whose result (ok or failed) is there."""
        self.delivered += 1
        self._write_head()

    def drop(self, reason: str, frames: int = 1) -> None:
        """Count frames that get no result, by reason."""
        key = reason.encode("ascii", "replace")[:_NAME].rstrip(b"\0").decode("ascii") or OTHER  # as the file has it
        if key not in self.dropped and len(self.dropped) >= _REASONS - 1:
            key = OTHER
        self.dropped[key] = self.dropped.get(key, 0) + frames
        row = list(self.dropped).index(key)
        _REASON.pack_into(self._map, _HEAD.size + row * _REASON.size, key.encode("ascii"), self.dropped[key])

    def resend(self) -> None:
        """Count a frame sent again."""
        self.resent += 1
        self._write_head()

    def read(self) -> Books:
        """Return the accounts."""
        return Books(
            frames_in=self.frames_in,
            delivered=self.delivered,
            dropped=dict(self.dropped),
            in_flight=self.in_flight,
            resent=self.resent,
            next_sequence=self.next_sequence,
        )

    def close(self) -> None:
        """Unmap; the file stays."""
        self._map.close()

    def _write_head(self) -> None:
        _HEAD.pack_into(self._map, 0, _MAGIC, self.next_sequence, self.frames_in, self.delivered, self.resent)

    def _read_reasons(self) -> dict[str, int]:
        rows = (_REASON.unpack_from(self._map, _HEAD.size + i * _REASON.size) for i in range(_REASONS))
        return {name.rstrip(b"\0").decode("ascii", "replace"): count for name, count in rows if count}


def _is_ours(path: Path) -> bool:
    """Return True when *path* holds accounts that can be continued."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    return len(data) == _SIZE and data.startswith(_MAGIC)
