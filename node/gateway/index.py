"""A session's finished results in a file beside its books, so that the next gateway still knows what was answered.

    results-<id>: | head: checksum, lengths | meta (MessagePack) | JSON for clients | picture | next record ...

Records are appended whole, by one write. When the file has as many results, bytes or seconds as are kept for repeats
it becomes results-<id>.old, and a new one is begun: both together hold at least what must be kept, and at most twice
that. A kill tears the last record at most: the reader stops there, and the writer goes on from there. Nothing is
synced to the disk: the file outlives the gateway, not the machine.
"""

import logging
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from node.gateway import results
from node.gateway.results import Picture, Result
from wire.messages import FrameStatus

log = logging.getLogger(__name__)

_HEAD = struct.Struct("<IIIQ")  # CRC-32 of all that follows but the picture, bytes of meta, JSON, picture
_encoder = msgspec.msgpack.Encoder()

Key = tuple[str, str]  # a client's own name and number of a frame


class Record(Struct, frozen=True):
    """A result, the client's name for its frame, and the count of delivered frames with it."""

    result: Result
    key: Key | None
    delivered: int


class Meta(Struct, frozen=True, array_like=True):
    """What the JSON does not tell, or not cheaply."""

    sequence: int
    status: FrameStatus
    broken: bool
    ended_by: int | None
    reason: str | None
    latency_ms: float
    media_type: str | None  # of the picture
    finished: float  # monotonic s: one clock for all processes of a machine
    key: Key | None
    delivered: int


_decoder = msgspec.msgpack.Decoder(Meta)


def encode(record: Record) -> list[bytes]:
    """Return the pieces of *record* as they stand in the file."""
    r = record.result
    picture = r.picture.data if r.picture else b""
    media_type = r.picture.media_type if r.picture else None
    meta = _encoder.encode(
        Meta(
            r.sequence, r.status, r.broken, r.ended_by, r.reason, r.latency_ms, media_type, r.finished,
            record.key, record.delivered,
        )
    )  # fmt: skip
    sizes = _HEAD.pack(0, len(meta), len(r.encoded), len(picture))[4:]
    checksum = zlib.crc32(r.encoded, zlib.crc32(meta, zlib.crc32(sizes)))
    return [checksum.to_bytes(4, "little") + sizes + meta, r.encoded, picture]


def decode(data: bytes) -> Iterator[tuple[Record, int]]:
    """Yield (record, where it ends) of each whole record, up to the first that is torn or not ours."""
    position = 0
    while position + _HEAD.size <= len(data):
        checksum, meta_size, json_size, picture_size = _HEAD.unpack_from(data, position)
        begin = position + _HEAD.size
        middle, end = begin + meta_size, begin + meta_size + json_size
        if end + picture_size > len(data) or zlib.crc32(memoryview(data)[position + 4 : end]) != checksum:
            return
        try:
            meta = _decoder.decode(data[begin:middle])
        except msgspec.DecodeError:  # another version's
            return
        position = end + picture_size
        picture = Picture(meta.media_type, data[end:position]) if meta.media_type is not None else None
        yield _record(meta, data[middle:end], picture), position


def _record(meta: Meta, encoded: bytes, picture: Picture | None) -> Record:
    result = Result(
        sequence=meta.sequence,
        status=meta.status,
        broken=meta.broken,
        ended_by=meta.ended_by,
        reason=meta.reason,
        latency_ms=meta.latency_ms,
        encoded=encoded,
        picture=picture,
        finished=meta.finished,
    )
    return Record(result, meta.key, meta.delivered)


class IndexFile:
    """The writing end. Not thread-safe: the entry's lock guards it. A disk that is full costs repeats, no frame."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. `found`: what a predecessor left, oldest first."""
        self._path = path
        self._old = path.with_name(f"{path.name}.old")
        self.found: list[Record] = [record for record, _ in decode(_read(self._old))]
        present = list(decode(_read(path)))
        self.found += [record for record, _ in present]
        self._bytes = present[-1][1] if present else 0
        self._results = len(present)
        self._begun = present[0][0].result.finished if present else 0.0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.truncate(self._file, self._bytes)
        os.lseek(self._file, self._bytes, os.SEEK_SET)
        self._failing = False

    def add(self, record: Record) -> None:
        """Append *record*."""
        try:
            self._make_room(record.result.finished)
            self._append(encode(record))
        except OSError as error:
            if not self._failing:
                log.error("%s: results are not kept beyond this process: %s", self._path, error)
            self._failing = True
        else:
            self._failing = False

    def _append(self, pieces: list[bytes]) -> None:
        size = sum(map(len, pieces))
        if os.writev(self._file, pieces) != size:  # the disk is full: not half a record
            os.truncate(self._file, self._bytes)
            os.lseek(self._file, self._bytes, os.SEEK_SET)
            raise OSError("no room")
        self._results += 1
        self._bytes += size

    def _make_room(self, now: float) -> None:
        """Begin another file when this one holds all that must be kept."""
        if not self._results:
            self._begun = now
        full = self._results >= results.KEEP_RESULTS or self._bytes >= results.KEEP_BYTES
        if not full and now - self._begun <= results.KEEP_SECONDS:
            return
        os.replace(self._path, self._old)
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        os.close(self._file)
        self._file, self._results, self._bytes, self._begun = file, 0, 0, now

    def close(self, *, remove: bool) -> None:
        """Close; with *remove* the files go too."""
        os.close(self._file)
        if remove:
            self._path.unlink(missing_ok=True)
            self._old.unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
