"""A folder that follows a gallery of the coordinator, read by recognizers as any other folder.

`<label>/<sha256>.jpg` shows that person, `<label>/not/<sha256>.jpg` somebody else.

    listing (304 while nothing changed) ─▶ fetch what is new: hash checked, temporary file, renamed
          ─▶ remove what is gone ─▶ renew the marker file: readers look at all the others only after that

Files are named by their content: a picture that changed is another file, so a reader never sees half of one.
"""

import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from handlers.mirrored import MARKER, NOT
from wire.client import ControlClient, PeerError, read
from wire.galleries import UNKNOWN_GALLERY, GalleryListing, check_name, path_of

logger = logging.getLogger(__name__)

ASK_S = 3.0  # how long the coordinator may take for a listing or a picture


class Wanted(NamedTuple):
    """A picture that belongs into the folder."""

    label: str
    name: str
    sha256: str
    negative: bool = False  # shows somebody else

    @property
    def file(self) -> str:
        """Its place in the folder."""
        return "/".join([self.label, *self._between, f"{self.sha256}.jpg"])

    @property
    def path(self) -> tuple[str, ...]:
        """The names that lead to it in the gallery."""
        return self.label, *self._between, self.name

    @property
    def _between(self) -> tuple[str, ...]:
        return (NOT,) if self.negative else ()


class Spoilt(Exception):
    """What came is not what the listing says: it changed meanwhile."""


def difference(listing: GalleryListing, have: Iterable[str]) -> tuple[list[Wanted], list[str]]:
    """Return what is to be fetched, and which files of *have* are to be removed. Raises BadName. Pure."""
    wanted = [
        Wanted(check_name("label", entry.label), picture.name, picture.sha256, negative)
        for entry in listing.labels
        for negative, pictures in ((False, entry.pictures), (True, entry.negatives))
        for picture in pictures
    ]
    present = set(have)
    missing = {w.file: w for w in wanted if w.file not in present}
    return list(missing.values()), sorted(present - {w.file for w in wanted})


class Mirror:
    """One gallery's folder; one thread at a time calls `refresh`."""

    def __init__(self, gallery: str, folder: Path, client: ControlClient) -> None:
        self.gallery, self.folder = gallery, folder
        self._client = client
        self._etag: str | None = None  # of what the folder holds wholly
        folder.mkdir(parents=True, exist_ok=True)

    def refresh(self, url: str, deadline: float) -> bool:
        """Follow the coordinator at *url* until time.monotonic() is *deadline*; return whether all is there.

        Raises PeerAway, PeerError, OSError; what is there stays then, and the next call goes on from it.
        """
        listing, etag = self._listing(url) or (None, None)
        if listing is None:
            return True
        missing, gone = difference(listing, self._files())
        try:
            for wanted in missing:
                self._fetch(url, wanted)
                if time.monotonic() > deadline:
                    return False
            for file in gone:
                self._remove(file)
        except Spoilt:
            return False  # the next listing knows
        finally:
            if missing or gone:
                self._mark()
        self._etag = etag
        if missing or gone:
            logger.info("gallery %s: version %d, %d files", self.gallery, listing.version, len(self._files()))
        return True

    def _listing(self, url: str) -> tuple[GalleryListing, str | None] | None:
        """Return what the coordinator has and its ETag, None when that has not changed."""
        try:
            answer = self._client.fetch(url + path_of(self.gallery), self._etag, ASK_S)
        except PeerError as error:
            if error.problem.get("type") != f"/problems/{UNKNOWN_GALLERY}":
                raise
            return GalleryListing(gallery=self.gallery, version=0, labels=[]), None
        if answer is None:
            return None
        return read(answer[0], GalleryListing), answer[1]

    def _files(self) -> list[str]:
        found = [*self.folder.glob("*/*"), *self.folder.glob(f"*/{NOT}/*")]
        return [str(p.relative_to(self.folder)) for p in found if not p.name.startswith(".") and p.name != NOT]

    def _fetch(self, url: str, wanted: Wanted) -> None:
        try:
            answer = self._client.fetch(url + path_of(self.gallery, *wanted.path), timeout=ASK_S)
        except PeerError as error:
            raise Spoilt(str(error)) from error
        data = answer[0] if answer else b""
        if hashlib.sha256(data).hexdigest() != wanted.sha256:
            raise Spoilt(f"{wanted.name} of {wanted.label} is another picture by now")
        self._write(self.folder / wanted.file, data)

    def _write(self, path: Path, data: bytes) -> None:
        """Write all or nothing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".part", delete=False) as file:
            file.write(data)
        os.replace(file.name, path)

    def _remove(self, file: str) -> None:
        path = self.folder / file
        path.unlink(missing_ok=True)
        for folder in list(path.parents)[: file.count("/")]:  # up to the label's
            if not any(folder.iterdir()):
                folder.rmdir()

    def _mark(self) -> None:
        """Tell readers that something has changed."""
        self._write(self.folder / MARKER, str(time.time_ns()).encode())
