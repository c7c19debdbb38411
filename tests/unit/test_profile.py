"""The figures of scripts/profile: boxes against labels, pairs of faces, the front, and what is written where."""

import json
import shutil
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.profile import documents, pairs, tables, written
from benchmarks.profile.data import photos, portraits
from benchmarks.profile.detections import Area, Detections, judge, matches, overlap
from benchmarks.profile.front import Point, front
from benchmarks.profile.labels import HEIGHT, WIDTH, place
from benchmarks.profile.plot import MOST_BYTES
from benchmarks.profile.reference import REFERENCES, Verdict, verdicts
from benchmarks.profile.store import Store
from benchmarks.profile.variants import RECOGNITION, VECTORS, pixel_limit, showing_service, variations
from benchmarks.profile.vectors import VectorsHandler, read
from handlers.base import Context, FrameError, Params
from handlers.types import Box, Boxes
from wire.graph import Topology
from wire.resources import load_handler_types, load_services, port_counts

ROOT = Path(__file__).resolve().parents[2]
STAMP = {"date": "2026-01-02", "machine": "1 x test"}
SERVICES = load_services(ROOT / "config/services")
TYPES = {t.handler_type: t for t in load_handler_types(ROOT / "config/handlers")}


def test_overlap_is_intersection_over_union() -> None:
    assert overlap(Area(0, 0, 10, 10), Area(0, 0, 10, 10)) == 1
    assert overlap(Area(0, 0, 10, 10), Area(5, 0, 10, 10)) == pytest.approx(50 / 150)
    assert overlap(Area(0, 0, 10, 10), Area(10, 0, 10, 10)) == 0
    assert overlap(Area(0, 0, 0, 0), Area(0, 0, 0, 0)) == 0


def test_a_labelled_face_is_found_once_by_the_best_box() -> None:
    face, near = Area(0, 0, 10, 10), Area(20, 0, 10, 10)
    twice = [Area(1, 0, 10, 10, score=0.5), Area(0, 0, 10, 10, score=0.9)]
    assert matches(twice, [face]) == 1
    assert matches(twice, [face, near]) == 1
    assert matches([Area(0, 0, 30, 10)], [face]) == 1  # 100 / 300: just over 0.3
    assert matches([Area(0, 0, 34, 10)], [face]) == 0


def test_recall_and_precision_count_over_all_pictures() -> None:
    a, b = Area(0, 0, 10, 10), Area(50, 50, 10, 10)
    found = judge([([a, b], [a]), ([], [b]), ([a], [a])])
    assert found == Detections(labelled=3, found=3, right=2)
    assert [found.recall, found.precision, found.f1] == pytest.approx([2 / 3] * 3)
    assert (Detections().recall, Detections().precision, Detections().f1) == (0, 0, 0)


def test_pairs_are_told_apart_at_a_threshold() -> None:
    """Distances 1 (a a), 10 9 (a b), 3 (b b), 9 ... by hand: points on a line."""
    vectors, people = np.array([[0.0], [1.0], [10.0], [13.0]]), ["a", "a", "b", "b"]
    found = pairs.pairs(vectors, people)
    assert sorted(found.distances) == [1, 3, 9, 10, 12, 13]
    assert found.accuracy(3) == 1
    assert found.accuracy(2) == pytest.approx(5 / 6)
    assert found.accuracy(9) == pytest.approx(5 / 6)
    assert found.best() == (1.0, 6.0)  # any threshold from 3 to 9
    assert pairs.nearest(vectors, people) == 1


def test_the_best_threshold_is_no_worse_than_any_other() -> None:
    rng = np.random.default_rng(7)
    people = [str(n // 4) for n in range(24)]
    vectors = rng.normal(size=(24, 3)) + np.array([[int(p), 0, 0] for p in people])
    found = pairs.pairs(vectors, people)
    best, at = found.best()
    assert best == pytest.approx(max(found.accuracy(t) for t in [0.0, *found.distances]))
    assert found.accuracy(at) == best


def test_equal_distances_are_not_parted() -> None:
    """Both pairs of the same and of different people at distance 1: no threshold tells them apart."""
    found = pairs.Pairs(np.array([1.0, 1.0, 1.0]), np.array([False, True, True]))
    assert found.best() == pytest.approx((2 / 3, 1.0))


def test_a_person_with_one_picture_has_no_nearest_other() -> None:
    vectors, people = np.array([[0.0], [1.0], [1.4]]), ["a", "a", "b"]
    assert pairs.nearest(vectors, people) == 0.5  # the second a is nearer to b


def test_the_front_holds_what_no_other_beats() -> None:
    fast, good, slow, same = Point("f", 10, 0.8), Point("g", 50, 0.95), Point("s", 60, 0.9), Point("e", 60, 0.95)
    assert front([slow, good, same, fast]) == [fast, good]
    assert front([Point("x", 10, 0.5), fast]) == [fast]
    assert front([]) == []


def test_names_cover_neither_points_nor_one_another() -> None:
    points, names = [(100.0, 100.0), (110.0, 104.0), (118.0, 96.0)], ["yunet_sface", "yunet_dlib", "mtcnn_facenet"]
    panel = Area(0, 0, 400, 200)
    places = place(points, names, panel)
    boxes = [
        Area(x + right - WIDTH * len(name) / 2, y + up - HEIGHT / 2, WIDTH * len(name), HEIGHT)
        for (x, y), (right, up), name in zip(points, places, names, strict=True)
    ]
    spots = [Area(x - 4, y - 4, 8, 8) for x, y in points]
    assert all(overlap(a, b) == 0 for a, b in combinations([*boxes, *spots], 2) if not (a in spots and b in spots))
    assert place([(2.0, 100.0)], ["at_the_edge"], panel)[0][0] > 0, "inside the panel"


def test_what_was_measured_today_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "run/profile.json"
    first = Store(path, "2 x cpu", 0.1, quick=False)
    first.put("handler 1", {"ms": 1.0})
    assert Store(path, "2 x cpu", 1.5, quick=False).has("handler 1")
    assert not Store(path, "4 x cpu", 0.0, quick=False).has("handler 1")
    assert not Store(path, "2 x cpu", 0.0, quick=True).has("handler 1")
    assert not Store(path, "2 x cpu", 0.0, quick=False).has("handler 2")
    disturbed = Store(path, "2 x cpu", 1.5, quick=False)
    disturbed.put("handler 1", {"ms": 2.0})
    found = Store(path, "2 x cpu", 0.0, quick=False).get("handler 1")
    assert (found["ms"], found["machine"]) == (2.0, "2 x cpu, 1.5 cores busy with other work")


def test_labels_are_read_as_dlib_writes_them(tmp_path: Path) -> None:
    folder = tmp_path / "dlib_faces"
    folder.mkdir()
    box = "<box top='2' left='1' width='3' height='4'/>"
    text = f"<dataset><images><image file='a.jpg'>{box}{box}</image></images></dataset>"
    (folder / "testing.xml").write_text(text)
    (found,) = photos(tmp_path)
    assert (found.path, found.faces) == (folder / "a.jpg", [Area(1, 2, 3, 4)] * 2)
    for name in ("johns/x/1.jpg", "faces/y/2.jpg", "faces/y/2_partial.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [(p.path.name, p.person) for p in portraits(tmp_path)] == [("1.jpg", "x"), ("2.jpg", "y")]


def test_vectors_come_through_as_labels() -> None:
    handler, vector = VectorsHandler(Params(), Context(Path())), np.linspace(-1, 1, 512)
    (box,) = handler.execute(Boxes([Box("face", 1.0, 1, 2, 3, 4, embedding=vector)]))
    assert (read(box.label) == vector).all()
    assert (box.x, box.y, box.w, box.h) == (1, 2, 3, 4)
    with pytest.raises(FrameError, match="no embedding"):
        handler.execute(Boxes([Box("face", 1.0, 1, 2, 3, 4)]))


def test_every_recognizing_variant_can_show_its_vectors() -> None:
    ports = port_counts(TYPES.values()) | {VECTORS: (1, 1)}
    (service,) = [s for s in SERVICES if s.service_name == RECOGNITION]
    for variant in showing_service(service).variants:
        assert variant.handlers[-1].handler_type == VECTORS
        assert not {h.handler_type for h in variant.handlers} & {5, 16, 17}, "drawing is left out"
        assert [e.handler_id for e in Topology(variant.graph, ports).exits] == [variant.handlers[-1].handler_id]


def test_what_changes_a_frames_cost_is_measured_apart() -> None:
    assert {"size": 608} in variations(7, SERVICES)
    assert not any("targets" in params for t in TYPES for params in variations(t, SERVICES))
    (service,) = [s for s in SERVICES if s.service_name == RECOGNITION]
    limits = {v.variant_name: pixel_limit(v, TYPES) for v in service.variants}
    assert limits["mmod_dlib"] == TYPES[10].params["max_pixels"]


@pytest.mark.parametrize(
    ("measured", "wanted", "passed"), [(0.96, 0.98, True), (0.95, 0.98, False), (1.0, 0.9, True), (None, 0.9, None)]
)
def test_a_figure_may_be_a_little_lower_than_what_is_to_be_reached(
    measured: float | None, wanted: float, passed: bool | None
) -> None:
    assert Verdict("v", "recall", measured, wanted).passed is passed


def test_what_was_not_measured_is_no_pass() -> None:
    told = list(verdicts({"accuracy face_detection/haar": {"recall": 1.0, "precision": 0.5}}))
    assert len(told) == sum(len(r.figures) for r in REFERENCES)
    assert [v.passed for v in told[:3]] == [True, False, None]
    assert "**fail**" in tables.reached(told) and "not measured" in tables.reached(told)


@pytest.mark.parametrize(
    ("value", "expected"), [(123.456, 123), (12.345, 12.3), (0.012345, 0.012), (1234.5, 1234), (0, 0), (None, None)]
)
def test_figures_are_rounded_to_what_they_are_worth(value: float | None, expected: float | None) -> None:
    assert documents.rounded(value) == expected


COST = {
    "ms": 20.04,
    "cpu_ms": 19.0,
    "ms_by_size": {"640x480": 20.04, "1920x1080": None},
    "load_ms": 100.0,
    "loaded_mb": 40.2,
    "mem_mb": 50.3,
    "output_bytes": [600],
    "variations": [{"params": {"with_crop": True}, "ms": 21.0, "mem_mb": 51.0, "output_bytes": [90_000]}],
}
FOUND: dict[str, dict[str, Any]] = {
    "handler 18": COST | STAMP,
    "handler 14": {"unavailable": "no weights"} | STAMP,
    "cost face_recognition/hog": {"latency_ms": 210.4, "cpu_ms": 200.0, "mem_mb": 180.0} | STAMP,
    "accuracy face_recognition/hog": {
        "recall": 0.9,
        "precision": 1.0,
        "f1": 0.947,
        "faces": 43,
        "photos": 9,
        "pair_accuracy": 0.99,
        "nearest": 1.0,
        "pairs": 1711,
        "pictures": 59,
        "people": 7,
    }
    | STAMP,
    "accuracy object_detection/nanodet": {"people_found": 400, "frames": 79} | STAMP,
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the files that figures go to."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    for page in (written.PAGE, written.RESULTS):
        (tmp_path / page).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / page, tmp_path / page)
    return tmp_path


def test_figures_are_written_where_the_coordinator_reads_them(repository: Path) -> None:
    written.write(repository, written.changes(repository, FOUND), picture=False)
    types = {t.handler_type: t for t in load_handler_types(repository / "config/handlers")}
    yunet = types[18].profile
    assert (yunet.ms, yunet.mem_mb, yunet.output_bytes, yunet.date) == (20, 50.3, [600], "2026-01-02")
    assert yunet.variations[0].params == {"with_crop": True}
    assert types[14].profile == TYPES[14].profile, "what is unavailable keeps its figures"
    services = {s.service_name: s for s in load_services(repository / "config/services")}
    hog = next(v for v in services[RECOGNITION].variants if v.variant_name == "hog")
    assert hog.accuracy == round(0.947 * 0.99, 3)
    assert hog.profile and hog.accuracy_by
    assert (hog.profile.latency_ms, hog.accuracy_by.pair_accuracy) == (210, 0.99)
    nanodet = next(v for v in services["object_detection"].variants if v.variant_name == "nanodet")
    before = next(v for s in SERVICES for v in s.variants if v.variant_name == "nanodet")
    assert nanodet.accuracy == before.accuracy, "a count is no accuracy"
    assert nanodet.accuracy_by and nanodet.accuracy_by.people_found == 400
    page = (repository / written.PAGE).read_text()
    assert "| 18 YunetDetectFaceHandler | - | 20 | - | - | 19 |" in page
    assert "| face_recognition | hog | 0.938 | 0.900 | 1.000 | 0.990 | - | 210 | 200 | 180 |" in page
    assert "| face_detection/haar |" not in (repository / written.RESULTS).read_text()


def test_writing_twice_changes_nothing_more(repository: Path) -> None:
    first = written.changes(repository, FOUND)
    assert {p.name for p in first} >= {"18_yunet_detect_face.json", "face_recognition.json", "handlers.md"}
    written.write(repository, first, picture=False)
    assert written.changes(repository, FOUND) == {}


def test_only_the_figures_differ(repository: Path) -> None:
    """The documents keep their order and form, so a change shows what was measured and nothing else."""
    path = repository / "config/services/face_recognition.json"
    before = json.loads(path.read_text())
    new = json.loads(written.changes(repository, FOUND)[path])
    for variant in [*before["variants"], *new["variants"]]:
        for name in ("accuracy", "accuracy_by", "profile"):
            variant.pop(name, None)
    assert json.dumps(new) == json.dumps(before)


def test_a_page_without_a_place_for_the_table_is_a_fault() -> None:
    with pytest.raises(documents.NoPlace, match="costs"):
        documents.between("text", "costs", "table")


def test_models_are_told_with_their_licences() -> None:
    told = {spec.name: tables.models_of(spec.params) for spec in TYPES.values()}
    assert told["DlibAlignRecognizeHandler"] == ["dlib-landmarks-5 (public domain)", "dlib-resnet-v1 (public domain)"]
    assert told["MtcnnDetectFaceAlignHandler"] == ["mtcnn-pnet (MIT)", "mtcnn-rnet (MIT)", "mtcnn-onet (MIT)"]
    assert [name.partition(" ")[0] for name in told["YoloDetectObjectHandler"]] == ["yolov3-tiny-cfg", "yolov3-tiny"]
    assert told["EncodeHandler"] == []


def test_the_picture_is_drawn_and_small(repository: Path) -> None:
    """Each service with two measured variants has a panel."""
    pytest.importorskip("matplotlib")
    found = FOUND | {"cost face_recognition/haar": FOUND["cost face_recognition/hog"] | {"latency_ms": 250.0}}
    written.write(repository, written.changes(repository, found), picture=True)
    picture = (repository / written.PICTURE).read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) < MOST_BYTES
