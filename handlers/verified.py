"""Which model files have been read through and found right: a note beside them, so that it is done once per file.

`<folder>/.verified/<file>` holds sha256, size and time of change; a file that has changed since is read again. In a
folder that cannot be written to, files are read at every start (some 0.1 s for 100 MB).
"""

import contextlib
import hashlib
import os
from pathlib import Path

NOTES = ".verified"
CHUNK = 1 << 20  # bytes read at a time


def has_sha256(path: Path, sha256: str) -> bool:
    """Return True when the content of *path* has that sha256 (hexadecimal). Raises OSError."""
    status = path.stat()
    line = f"{sha256} {status.st_size} {status.st_mtime_ns}\n"
    note = path.parent / NOTES / path.name
    with contextlib.suppress(OSError):
        if note.read_text(encoding="ascii", errors="replace") == line:
            return True
    if sha256_of(path) != sha256:
        return False
    with contextlib.suppress(OSError):  # read-only, or full: it is read again next time
        _write(note, line)
    return True


def sha256_of(path: Path) -> str:
    """Return the sha256 of the file, hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _write(note: Path, line: str) -> None:
    """Write it wholly or not at all: several processes may look at the same file at once."""
    note.parent.mkdir(exist_ok=True)
    part = note.with_name(f"{note.name}.{os.getpid()}")
    part.write_text(line, encoding="ascii")
    part.replace(note)
