"""What the API does with galleries: checks names and pictures, writes, lists. Raises problems."""

import hashlib
import logging
from collections.abc import Iterable

from coordinator.gallery_store import GalleryStore, NoLabel, Place, Version
from coordinator.portraits import Portraits
from wire.galleries import (
    DEFAULT,
    MAX_PICTURE_BYTES,
    NOT,
    PARAMETER,
    UNKNOWN_GALLERY,
    BadName,
    Enrolled,
    GalleryListing,
    GallerySummary,
    check_name,
    media_type,
    named_gallery,
)
from wire.messages import HandlerSpec, SessionRequest
from wire.resources import HandlerTypeSpec
from wire.web import NotFound, TooLarge, Unprocessable

logger = logging.getLogger(__name__)

NAME_DIGITS = 16  # of a picture's sha256: its name where the sender gives none


class UnknownGallery(NotFound):
    slug, title = UNKNOWN_GALLERY, "No such gallery"


class UnknownPicture(NotFound):
    slug, title = "unknown-picture", "No such picture"


class UnknownLabel(NotFound):
    slug, title = "unknown-label", "No such person in the gallery"


class WrongName(Unprocessable):
    slug, title = "wrong-name", "A name that cannot be used"


class Galleries:
    """The galleries' side of the API; safe to use from several threads."""

    def __init__(self, store: GalleryStore, portraits: Portraits) -> None:
        self._store, self._portraits = store, portraits

    def all(self) -> list[GallerySummary]:
        """Return all galleries, by name."""
        return self._store.summaries()

    def version(self, gallery: str) -> Version:
        """Return the gallery's version. Raises UnknownGallery."""
        found = self._store.version(gallery)
        if found is None:
            raise _unknown(gallery)
        return found

    def get(self, gallery: str) -> tuple[GalleryListing, Version]:
        """Return the people of a gallery. Raises UnknownGallery."""
        found = self._store.listing(gallery)
        if found is None:
            raise _unknown(gallery)
        return found

    def picture(self, place: Place, *, negative: bool = False) -> tuple[bytes, str, str]:
        """Return a picture, its sha256 and its media type. Raises UnknownPicture."""
        found = self._store.picture(place, negative=negative)
        if found is None:
            raise UnknownPicture(f"there is no picture {place.name!r} of {place.label!r} in gallery {place.gallery!r}")
        return *found, media_type(found[0]) or "application/octet-stream"

    def put(self, place: Place, picture: bytes) -> Enrolled:
        """Enrol the largest face of *picture*. Raises WrongName, TooLarge, NoPortrait, Unavailable."""
        if place.name == NOT:
            raise WrongName(f"no picture is called {NOT!r}: that is where pictures of others go")
        return self._keep(place, picture, hashlib.sha256(picture).hexdigest(), negative=False)

    def refute(self, gallery: str, label: str, picture: bytes) -> Enrolled:
        """Keep that the largest face of *picture* is not *label*; its name is made of its bytes.

        Raises UnknownGallery, UnknownLabel, WrongName, TooLarge, NoPortrait, Unavailable.
        """
        self.version(gallery)
        sha256 = hashlib.sha256(picture).hexdigest()
        return self._keep(Place(gallery, label, sha256[:NAME_DIGITS]), picture, sha256, negative=True)

    def _keep(self, place: Place, picture: bytes, sha256: str, *, negative: bool) -> Enrolled:
        _check(place)
        if len(picture) > MAX_PICTURE_BYTES:
            raise TooLarge(f"a picture has at most {MAX_PICTURE_BYTES} bytes")
        if media_type(picture) is None:
            raise Unprocessable("the body is not a picture of a known kind (JPEG, PNG, WebP, BMP)")
        seen = self._portraits.examine(picture)
        try:
            change, version = self._store.put(place, picture, sha256, negative=negative)
        except NoLabel as error:
            raise UnknownLabel(f"nobody is enrolled as {place.label!r} in gallery {place.gallery!r}") from error
        logger.info("gallery %s, version %d: %s of %s %s", place.gallery, version, place.name, place.label, change)
        return Enrolled(
            gallery=place.gallery,
            label=place.label or "",
            name=place.name or "",
            sha256=sha256,
            version=version,
            change=change,
            faces=seen.faces,
            face=seen.face,
            note=f"the largest of {seen.faces} faces was taken" if seen.faces > 1 else None,
        )

    def delete(self, place: Place, *, negative: bool = False) -> None:
        """Remove a picture, a label or a gallery; once more changes nothing. Raises WrongName."""
        _check(place)
        removed = self._store.delete(place, negative=negative)
        logger.info("gallery %s: %d pictures removed", "/".join(n for n in place if n), removed)

    def check_used(
        self, handlers: Iterable[HandlerSpec], types: Iterable[HandlerTypeSpec], asked: SessionRequest
    ) -> None:
        """Raise Unprocessable where a handler's parameter names a gallery that does not exist (`default` need not)."""
        defaults = {t.handler_type: t.params for t in types}
        named = {h.handler_id: named_gallery(defaults.get(h.handler_type, {}) | h.params) for h in handlers}
        wanted = {gallery for gallery in named.values() if gallery and gallery != DEFAULT}
        missing = wanted - self._store.present(sorted(wanted)) if wanted else set()
        for handler_id, gallery in named.items():
            if gallery in missing:
                given = PARAMETER in asked.params.get(handler_id, {})
                pointer = f"/params/{handler_id}/{PARAMETER}" if given else "/service"
                known = ", ".join(summary.gallery for summary in self.all()) or "none yet"
                raise Unprocessable(f"there is no gallery {gallery!r}; there are: {known}", pointer=pointer)


def _check(place: Place) -> None:
    try:
        for kind, name in place._asdict().items():
            if name is not None:
                check_name(kind, name)
    except BadName as error:
        raise WrongName(str(error)) from error


def _unknown(gallery: str) -> UnknownGallery:
    return UnknownGallery(f"there is no gallery {gallery!r}")
