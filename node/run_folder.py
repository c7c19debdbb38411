"""The agent's own folder: channel root, books, progress files. Its name is also the name of its shared memory.

A lock on a file in it tells a living agent's folder from what a killed one left, which the next agent removes.
"""

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

SHM = Path("/dev/shm")  # noqa: S108 - not a temporary file: the mount is looked at
SHM_NEEDED_MB = 256  # a window of big frames in every queue of a few handlers
SHM_LEAST_MB = 32
LONGEST_SOCKET = 107  # bytes of a Unix socket's path (sun_path, Linux)


class NoRoom(Exception):
    """Shared memory is too small to begin at all."""


class RunFolder:
    """A folder that is ours while we live."""

    def __init__(self, node_id: int, base: Path | None = None) -> None:
        """Make the folder; remove what killed agents of this user left. Raises OSError."""
        base = base or default_base()
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        if base.stat().st_uid != os.getuid():
            raise PermissionError(f"{base} belongs to another user")
        self.name = f"fs{node_id}-{secrets.token_hex(4)}"
        self.path = base / self.name
        with _alone(base):
            remove_leftovers(base)
            self.path.mkdir(mode=0o700)
            self._lock = _lock(self.path)

    def remove(self) -> None:
        """Remove the folder and the shared memory; all children must have ended."""
        _remove(self.path)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def default_base() -> Path:
    """Return the folder for all agents of this user: short, for the sockets in it, and in the temporary directory."""
    return Path(tempfile.gettempdir()) / f"faceservice-{os.getuid()}"


def remove_leftovers(base: Path) -> None:
    """Remove the folders, and their shared memory, whose agents are gone."""
    for path in base.iterdir():
        if not path.is_dir():
            continue
        lock = _lock(path)
        if lock is not None:
            logger.warning("removing %s, which a killed agent left", path)
            _remove(path)
            os.close(lock)


@contextlib.contextmanager
def _alone(base: Path) -> Iterator[None]:
    """Wait until no other agent makes or looks for folders in *base*: a new one is not locked at once."""
    descriptor = os.open(base / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    from node.transport import channel  # not before it is needed: it brings the shared-memory library

    channel.sweep(path.name, path)
    shutil.rmtree(path, ignore_errors=True)


def _lock(path: Path) -> int | None:
    """Return the lock of *path*, None when a living agent has it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor
    return None


def check_length(base: Path, node_id: int) -> None:
    """Raise NoRoom when sockets in an agent's folder in *base* would have longer paths than the system takes."""
    name = f"fs{node_id}-{'x' * 8}"
    longest = len(os.fsencode(base / name / "channel" / f"{name}_{'9' * 30}.event"))  # as iceoryx2 names them
    if longest > LONGEST_SOCKET:
        over = longest - LONGEST_SOCKET
        raise NoRoom(f"{base} is too long for the sockets in it, by {over} bytes: set TMPDIR to a shorter path")


def check_shared_memory() -> None:
    """Warn when shared memory is small, raise NoRoom when it is too small: a full one would kill processes."""
    try:
        size = os.statvfs(SHM)
    except OSError as error:
        raise NoRoom(f"{SHM}: {error.strerror}; frames travel through shared memory inside a node") from error
    free_mb = size.f_bavail * size.f_frsize >> 20
    advice = f"{SHM_NEEDED_MB} MB are needed (docker: --shm-size={SHM_NEEDED_MB}m)"
    if free_mb < SHM_LEAST_MB:
        raise NoRoom(f"{SHM} has {free_mb} MB free; {advice}")
    if free_mb < SHM_NEEDED_MB:
        logger.warning("%s has %d MB free; %s", SHM, free_mb, advice)
