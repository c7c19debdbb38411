"""A session's accounts in a small memory-mapped file that outlives the gateway.

    frames_in = delivered + dropped (by reason and place) + in_flight

in_flight is never stored: it is what is left, so the books balance at any moment, whatever dies. Only the gateway
writes; a new gateway that finds open frames books them as dropped, because nobody can answer them any more.
"""

import mmap
import struct
from collections import Counter
from pathlib import Path

from wire.messages import ENTRY_PLACE, Books, handler_place

_HEAD = struct.Struct("<8sQQQQ")  # magic, next_sequence, frames_in, delivered, resent
_NAME = 24  # bytes of a reason
_ROW = struct.Struct(f"<{_NAME}sqQ")  # reason (ASCII, zero-padded), handler_id or AT_ENTRY, frames
_ROWS = 16
_SIZE = _HEAD.size + _ROWS * _ROW.size
_MAGIC = b"FSBOOKS2"
AT_ENTRY = -1
OTHER = "other"  # the last row, for reasons beyond the table


class BooksFile:
    """Counters of one session. Not thread-safe: the entry's lock guards it."""

    def __init__(self, path: Path, first_sequence: int = 0, answered: int = 0) -> None:
        """Open or make the file; open frames of a predecessor become dropped: gateway_lost.

        answered: delivered frames by the word of the result index, which is written first.
        """
        if not _is_ours(path):
            path.write_bytes(_HEAD.pack(_MAGIC, 0, 0, 0, 0).ljust(_SIZE, b"\0"))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)
        head: tuple[bytes, int, int, int, int] = _HEAD.unpack_from(self._map)
        _, self.next_sequence, self.frames_in, self.delivered, self.resent = head
        self._rows = self._read_rows()
        self.delivered += max(0, min(answered - self.delivered, self.in_flight))
        if open_frames := self.in_flight:
            self.drop("gateway_lost", open_frames)
        self.begin_at(first_sequence)

    @property
    def dropped(self) -> dict[str, int]:
        """Frames that got no result, by reason."""
        found: Counter[str] = Counter()
        for (reason, _), frames in self._rows.items():
            found[reason] += frames
        return dict(found)

    @property
    def in_flight(self) -> int:
        """Frames taken and not yet answered."""
        return self.frames_in - self.delivered - sum(self._rows.values())

    def begin_at(self, sequence: int) -> None:
        """Number the next frame at least *sequence*."""
        self.next_sequence = max(self.next_sequence, sequence)
        self._write_head()

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

    def drop(self, reason: str, frames: int = 1, place: int = AT_ENTRY) -> None:
        """Count frames that get no result, by reason and place: the handler where they ended, or AT_ENTRY."""
        name = reason.encode("ascii", "replace")[:_NAME].rstrip(b"\0").decode("ascii") or OTHER  # as the file has it
        key = (name, place)
        if key not in self._rows and len(self._rows) >= _ROWS - 1:
            key = (OTHER, AT_ENTRY)
        self._rows[key] = self._rows.get(key, 0) + frames
        row = list(self._rows).index(key)
        _ROW.pack_into(self._map, _HEAD.size + row * _ROW.size, key[0].encode("ascii"), key[1], self._rows[key])

    def resend(self) -> None:
        """Count a frame sent again."""
        self.resent += 1
        self._write_head()

    def read(self) -> Books:
        """Return the accounts."""
        places: dict[str, dict[str, int]] = {}
        for (reason, place), frames in self._rows.items():
            places.setdefault(ENTRY_PLACE if place == AT_ENTRY else handler_place(place), {})[reason] = frames
        return Books(
            frames_in=self.frames_in,
            delivered=self.delivered,
            dropped=self.dropped,
            dropped_at=places,
            in_flight=self.in_flight,
            resent=self.resent,
            next_sequence=self.next_sequence,
        )

    def close(self) -> None:
        """Unmap; the file stays."""
        self._map.close()

    def _write_head(self) -> None:
        _HEAD.pack_into(self._map, 0, _MAGIC, self.next_sequence, self.frames_in, self.delivered, self.resent)

    def _read_rows(self) -> dict[tuple[str, int], int]:
        rows = (_ROW.unpack_from(self._map, _HEAD.size + i * _ROW.size) for i in range(_ROWS))
        return {(name.rstrip(b"\0").decode("ascii", "replace"), place): n for name, place, n in rows if n}


def _is_ours(path: Path) -> bool:
    """Return True when *path* holds accounts that can be continued."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    return len(data) == _SIZE and data.startswith(_MAGIC)
