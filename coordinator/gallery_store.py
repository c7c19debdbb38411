"""The SQL of galleries. Every change is one transaction that begins by raising the gallery's version.

So writers of one gallery wait for each other, its version never shrinks, and who reads version and pictures together
reads what belongs together. *negative* pictures show others who are taken for the label. Raises
wire.database.DatabaseAway.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Engine, Select, Table, delete, func, insert, select, update

from wire import tables
from wire.database import away
from wire.galleries import GalleryListing, GallerySummary, LabelEntry, PictureEntry

pictures, negatives, versions = tables.galleries, tables.gallery_negatives, tables.gallery_versions

_NEW = insert(versions).prefix_with("IGNORE", dialect="mysql").prefix_with("OR IGNORE", dialect="sqlite")
_NEW = _NEW.prefix_with("IGNORE", dialect="mariadb")


class Place(NamedTuple):
    """A gallery, a label in it, or a picture of that: what is not said means all."""

    gallery: str
    label: str | None = None
    name: str | None = None


class Version(NamedTuple):
    """Of a gallery: its number, and when that was given (s since the epoch)."""

    number: int
    updated: float


class NoLabel(Exception):
    """Nobody of that label is enrolled."""


class GalleryStore:
    """All methods are one transaction each; safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def summaries(self) -> list[GallerySummary]:
        """Return all galleries, by name."""
        counts = select(
            pictures.c.gallery,
            func.count(func.distinct(pictures.c.label)).label("labels"),
            func.count().label("pictures"),
        )
        counted = counts.group_by(pictures.c.gallery).subquery()
        query = select(versions.c.gallery, versions.c.version, counted.c.labels, counted.c.pictures)
        query = query.join_from(versions, counted, versions.c.gallery == counted.c.gallery, isouter=True)
        query = query.where(versions.c.present == 1).order_by(versions.c.gallery)
        with away(self._engine), self._engine.connect() as connection:
            return [
                GallerySummary(gallery=r.gallery, version=r.version, labels=r.labels or 0, pictures=r.pictures or 0)
                for r in connection.execute(query)
            ]

    def present(self, names: Sequence[str]) -> set[str]:
        """Return those of *names* that are galleries."""
        query = select(versions.c.gallery).where(versions.c.gallery.in_(names), versions.c.present == 1)
        with away(self._engine), self._engine.connect() as connection:
            return set(connection.scalars(query))

    def version(self, gallery: str) -> Version | None:
        """Return the gallery's version, None when there is no such gallery."""
        with away(self._engine), self._engine.connect() as connection:
            return _version(connection, gallery)

    def listing(self, gallery: str) -> tuple[GalleryListing, Version] | None:
        """Return the gallery's people and their pictures, by name, with its version; None when it does not exist.

        When it changes meanwhile the pictures may be newer than the version: who holds that sees another change.
        """
        with away(self._engine), self._engine.connect() as connection:
            version = _version(connection, gallery)
            if version is None:
                return None
            own, others = _entries(connection, pictures, gallery), _entries(connection, negatives, gallery)
        labels = [
            LabelEntry(label=label, pictures=own.get(label, []), negatives=others.get(label, []))
            for label in sorted({*own, *others})
        ]
        return GalleryListing(gallery=gallery, version=version.number, labels=labels), version

    def picture(self, place: Place, *, negative: bool = False) -> tuple[bytes, str] | None:
        """Return the picture and its sha256, or None."""
        table = negatives if negative else pictures
        query = select(table.c.picture, table.c.sha256).where(*_where(table, place))
        with away(self._engine), self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else (bytes(row.picture), row.sha256)

    def put(self, place: Place, picture: bytes, sha256: str, *, negative: bool = False) -> tuple[str, int]:
        """Keep *picture* there. Return "added", "replaced" or "unchanged", and the gallery's version.

        Raises NoLabel for a negative of somebody who is not enrolled.
        """
        table, row = negatives if negative else pictures, {"picture": picture, "sha256": sha256, "created": time.time()}
        where = _where(table, place)
        self._begin_counting(place.gallery)
        with away(self._engine), self._engine.begin() as connection:
            number = _raise_version(connection, place.gallery, present=1)
            if negative and not connection.scalar(_count(pictures, place._replace(name=None))):
                raise NoLabel(place.label)  # which rolls back
            was = connection.scalar(select(table.c.sha256).where(*where))
            if was == sha256:
                connection.rollback()
                return "unchanged", number - 1
            if was is not None:
                connection.execute(update(table).where(*where).values(row))
                return "replaced", number
            connection.execute(insert(table).values(place._asdict() | row))
            return "added", number

    def delete(self, place: Place, *, negative: bool = False) -> int:
        """Remove what is there, the gallery itself when *place* names no label. Return how many pictures it was.

        Negatives go with their label; of one picture *negative* says which kind it is.
        """
        concerned = [pictures, negatives] if place.name is None else [negatives if negative else pictures]
        with away(self._engine), self._engine.begin() as connection:
            version = _version(connection, place.gallery)
            if version is None:
                return 0
            _raise_version(connection, place.gallery, present=int(place.label is not None))
            removed = sum(connection.execute(delete(t).where(*_where(t, place))).rowcount for t in concerned)
            if not removed and place.label is not None:
                connection.rollback()
            return removed

    def _begin_counting(self, gallery: str) -> None:
        """Make sure that the gallery has a version, in a transaction of its own: one that goes on to raise it after
        such an insert would hold a shared lock, and two of those wait for each other."""
        with away(self._engine), self._engine.begin() as connection:
            if connection.scalar(select(versions.c.version).where(versions.c.gallery == gallery)) is None:
                connection.execute(_NEW.values(gallery=gallery, version=0, present=0, updated=0.0))


def _where(table: Table, place: Place) -> list[ColumnElement[bool]]:
    return [table.c[column] == value for column, value in place._asdict().items() if value is not None]


def _count(table: Table, place: Place) -> Select[int]:
    return select(func.count()).select_from(table).where(*_where(table, place))


def _entries(connection: Connection, table: Table, gallery: str) -> dict[str, list[PictureEntry]]:
    """Return label -> the pictures of *table*, by name."""
    query = select(table.c.label, table.c.name, table.c.sha256, table.c.created)
    found: dict[str, list[PictureEntry]] = {}
    for row in connection.execute(query.where(table.c.gallery == gallery).order_by(table.c.label, table.c.name)):
        found.setdefault(row.label, []).append(PictureEntry(name=row.name, sha256=row.sha256, created=row.created))
    return found


def _version(connection: Connection, gallery: str) -> Version | None:
    query = select(versions.c.version, versions.c.updated)
    row = connection.execute(query.where(versions.c.gallery == gallery, versions.c.present == 1)).one_or_none()
    return None if row is None else Version(row.version, row.updated)


def _raise_version(connection: Connection, gallery: str, *, present: int) -> int:
    """Count the gallery's version up, which holds its row until the transaction ends, and return it."""
    own = versions.c.gallery == gallery
    change = update(versions).where(own)
    values = {"version": versions.c.version + 1, "present": present, "updated": time.time()}
    connection.execute(change.values(values))
    return int(connection.scalar(select(versions.c.version).where(own)) or 0)
