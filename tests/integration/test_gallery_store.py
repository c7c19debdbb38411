"""Galleries in SQL, on both engines: versions that only grow, whoever writes."""

import threading
from collections.abc import Iterator

import pytest

from coordinator.gallery_store import GalleryStore, NoLabel, Place
from wire.database import connect, migrate
from wire.galleries import GallerySummary
from wire.settings import DatabaseSettings

BIDEN, OBAMA = Place("staff", "biden", "1"), Place("staff", "obama", "1")
A, B = "a" * 64, "b" * 64


@pytest.fixture
def store(database: DatabaseSettings) -> Iterator[GalleryStore]:
    engine = connect(database)
    migrate(engine)
    yield GalleryStore(engine)
    engine.dispose()


def number(store: GalleryStore) -> int:
    version = store.version("staff")
    return version.number if version else 0


def test_a_picture_is_added_replaced_or_left(store: GalleryStore) -> None:
    assert store.put(BIDEN, b"x", A) == ("added", 1)
    assert store.put(BIDEN, b"x", A) == ("unchanged", 1)
    assert store.put(BIDEN, b"y", B) == ("replaced", 2)
    assert store.picture(BIDEN) == (b"y", B)
    assert store.picture(OBAMA) is None
    assert number(store) == 2


def test_names_are_told_apart_by_every_letter(store: GalleryStore) -> None:
    for label in ("biden", "Biden", "bidén"):
        assert store.put(Place("staff", label, "1"), label.encode(), A)[0] == "added"
    assert store.picture(Place("staff", "Biden", "1")) == (b"Biden", A)
    found = store.listing("staff")
    assert found is not None and len(found[0].labels) == 3


def test_removing_once_more_changes_nothing(store: GalleryStore) -> None:
    for place in (BIDEN, OBAMA, Place("staff", "obama", "2")):
        store.put(place, b"x", A)
    assert [store.delete(Place("staff", "obama")), number(store)] == [2, 4]
    assert [store.delete(Place("staff", "obama")), number(store)] == [0, 4]
    assert [store.delete(BIDEN), number(store)] == [1, 5]
    assert store.summaries() == [GallerySummary(gallery="staff", version=5, labels=0, pictures=0)]
    assert store.present(["staff", "other"]) == {"staff"}


def test_a_gallery_made_again_counts_on(store: GalleryStore) -> None:
    """Whoever kept version 1 of the old one sees that this is another."""
    store.put(BIDEN, b"x", A)
    assert store.delete(Place("staff")) == 1
    assert (store.version("staff"), store.listing("staff"), store.summaries()) == (None, None, [])
    assert store.delete(Place("staff")) == 0
    change, version = store.put(BIDEN, b"x", A)
    assert (change, version) == ("added", 3)


def test_pictures_of_others_are_kept_apart_and_go_with_their_label(store: GalleryStore) -> None:
    with pytest.raises(NoLabel):
        store.put(BIDEN, b"y", B, negative=True)
    assert store.version("staff") is None, "a refusal makes no gallery"
    store.put(BIDEN, b"x", A)
    store.put(OBAMA, b"x", A)
    with pytest.raises(NoLabel):
        store.put(Place("staff", "bidén", "1"), b"y", B, negative=True)
    assert store.put(BIDEN, b"y", B, negative=True) == ("added", 3)
    assert store.put(BIDEN, b"y", B, negative=True) == ("unchanged", 3)
    assert [store.picture(BIDEN), store.picture(BIDEN, negative=True)] == [(b"x", A), (b"y", B)]
    assert others(store) == {"biden": [("1", B)], "obama": []}
    assert store.delete(OBAMA, negative=True) == 0
    assert [store.delete(BIDEN), others(store)] == [1, {"biden": [("1", B)], "obama": []}]
    assert [store.delete(BIDEN, negative=True), others(store)] == [1, {"obama": []}]
    store.put(OBAMA, b"y", B, negative=True)
    assert [store.delete(Place("staff", "obama")), others(store)] == [2, {}]
    store.put(OBAMA, b"x", A)
    store.put(OBAMA, b"y", B, negative=True)
    assert [store.delete(Place("staff")), store.picture(OBAMA, negative=True)] == [2, None]


def others(store: GalleryStore) -> dict[str, list[tuple[str, str]]]:
    found = store.listing("staff")
    assert found is not None
    return {entry.label: [(p.name, p.sha256) for p in entry.negatives] for entry in found[0].labels}


def test_of_many_writers_each_gets_a_version_of_its_own(store: GalleryStore) -> None:
    versions: list[int] = []

    def write(label: str) -> None:
        versions.extend(store.put(Place("staff", label, str(n)), b"x", A)[1] for n in range(5))

    threads = [threading.Thread(target=write, args=(f"p{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(versions) == list(range(1, 21))
    assert store.summaries() == [GallerySummary(gallery="staff", version=20, labels=4, pictures=20)]
