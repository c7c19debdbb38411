"""The gallery folder: followed while frames come, cached without pickle, and never the end of the handler."""

import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from handlers import gallery as module
from handlers import vector_cache
from handlers.dlib_face import FaceEmbedder, Predictor
from handlers.gallery import Gallery
from handlers.naming import Vector
from tests.handler_support import SAMPLES

OBAMA, BIDEN = SAMPLES / "gallery/obama/obama.jpg", SAMPLES / "gallery/biden/biden.jpg"


@pytest.fixture(scope="module")
def embedder(model_path: Path) -> FaceEmbedder:
    return FaceEmbedder("5", "dlib-resnet-v1", model_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with Obama alone."""
    add(OBAMA, tmp_path / "people/obama/1.jpg")
    return tmp_path / "people"


@pytest.fixture(autouse=True)
def no_rescan_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESCAN_S", 0.0)


def add(picture: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(picture, target)


def labels(gallery: Gallery) -> list[str]:
    return gallery.known.labels


def test_people_come_and_go_while_it_runs(folder: Path, tmp_path: Path, embedder: FaceEmbedder) -> None:
    gallery = Gallery(folder, tmp_path / "cache", embedder)
    gallery.refresh()
    assert labels(gallery) == ["obama"]
    add(BIDEN, folder / "biden/portrait.JPG")
    gallery.refresh()
    assert labels(gallery) == ["biden", "obama"]
    shutil.rmtree(folder / "obama")
    gallery.refresh()
    assert labels(gallery) == ["biden"]
    vector = gallery.known.matrix[0]
    assert gallery.known.name(vector, 0.6) == ("biden", 0.0)
    shutil.rmtree(folder)
    gallery.refresh()
    assert gallery.known.name(vector, 0.6) == (None, None)


def test_who_a_person_is_not_lies_in_a_folder_of_its_own(folder: Path, tmp_path: Path, embedder: FaceEmbedder) -> None:
    gallery = Gallery(folder, tmp_path / "cache", embedder)
    gallery.refresh()
    add(BIDEN, folder / "obama/not/1.jpg")
    gallery.refresh()
    assert labels(gallery) == ["obama"], "a picture of somebody else names nobody"
    assert gallery.known.name(gallery.known.matrix[0], 2.0) == ("obama", 0.0)
    biden = vector_of(BIDEN, embedder, tmp_path)
    label, distance = gallery.known.name(biden, 2.0)
    assert label is None and distance is not None and 0.6 < distance < 2.0
    shutil.rmtree(folder / "obama/not")
    gallery.refresh()
    assert gallery.known.name(biden, 2.0)[0] == "obama"


def vector_of(picture: Path, embedder: FaceEmbedder, tmp_path: Path) -> Vector:
    add(picture, tmp_path / "alone/x/1.jpg")
    alone = Gallery(tmp_path / "alone", tmp_path / "cache", embedder)
    alone.refresh()
    vector: Vector = alone.known.matrix[0]
    return vector


def test_a_replaced_picture_is_another_person(folder: Path, tmp_path: Path, embedder: FaceEmbedder) -> None:
    gallery = Gallery(folder, tmp_path / "cache", embedder)
    gallery.refresh()
    before = gallery.known.matrix.copy()
    add(BIDEN, folder / "obama/1.jpg")
    gallery.refresh()
    assert np.linalg.norm(gallery.known.matrix - before) > 0.6


def test_broken_pictures_and_those_without_faces_are_named_once_and_skipped(
    folder: Path, tmp_path: Path, embedder: FaceEmbedder, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "obama/broken.jpg").write_bytes(OBAMA.read_bytes()[:5000])
    (folder / "obama/notes.txt").write_text("no picture")
    (folder / "stray.jpg").write_bytes(b"in no label's folder")
    (folder / "wall").mkdir()
    cv2.imwrite(str(folder / "wall/blank.png"), np.full((200, 200, 3), 200, np.uint8))
    gallery = Gallery(folder, tmp_path / "cache", embedder)
    with caplog.at_level(logging.WARNING):
        gallery.refresh()
        gallery.refresh()
    assert labels(gallery) == ["obama"]
    assert len([r for r in caplog.records if "broken.jpg" in r.getMessage()]) == 1
    assert len([r for r in caplog.records if "blank.png" in r.getMessage() and "no face" in r.getMessage()]) == 1


def test_the_cache_spares_the_computation_and_holds_no_pickle(
    folder: Path, tmp_path: Path, embedder: FaceEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Gallery(folder, tmp_path / "cache", embedder)
    first.refresh()
    second = Gallery(folder, tmp_path / "cache", embedder)
    monkeypatch.setattr(second, "_compute", lambda data: pytest.fail("computed again"))
    second.refresh()
    assert (second.known.matrix == first.known.matrix).all()


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04garbage"])
def test_a_damaged_cache_is_computed_again(
    folder: Path, tmp_path: Path, embedder: FaceEmbedder, content: bytes
) -> None:
    Gallery(folder, tmp_path / "cache", embedder).refresh()
    for path in (tmp_path / "cache").glob("*.npz"):
        path.write_bytes(content)
    gallery = Gallery(folder, tmp_path / "cache", embedder)
    gallery.refresh()
    assert labels(gallery) == ["obama"]


def test_a_pickled_cache_is_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", vector=np.array([{"an": "object"}], dtype=object))
    assert vector_cache.load(tmp_path / "v.npz", 128) is None


def test_another_model_has_other_vectors(model_path: Path, folder: Path, tmp_path: Path) -> None:
    predictors: tuple[Predictor, ...] = ("5", "68")
    for predictor in predictors:
        Gallery(folder, tmp_path / "cache", FaceEmbedder(predictor, "dlib-resnet-v1", model_path)).refresh()
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 2


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    folder: Path, tmp_path: Path, embedder: FaceEmbedder
) -> None:
    (tmp_path / "file").write_text("not a folder")
    gallery = Gallery(folder, tmp_path / "file/cache", embedder)
    gallery.refresh()
    assert labels(gallery) == ["obama"]


def test_a_large_gallery_is_taken_in_over_several_frames(folder: Path, tmp_path: Path, embedder: FaceEmbedder) -> None:
    add(BIDEN, folder / "biden/1.jpg")
    gallery = Gallery(folder, tmp_path / "cache", embedder)
    gallery.refresh(budget_s=0.0)
    assert len(labels(gallery)) == 1
    gallery.refresh(budget_s=0.0)
    assert labels(gallery) == ["biden", "obama"]
