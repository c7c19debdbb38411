"""Every variant whose models are here runs over two nodes and names the people of the samples, or finds its things."""

import pytest
import requests

from handlers.manifest import manifest
from tests.conftest import Cluster
from tests.daemons import ROOT
from tests.e2e.live_session import SPLIT, opened

PHOTOS = ROOT / "samples/photos"
NEEDS = {
    "yunet_sface": "face_recognition_sface_2021dec_int8bq.onnx",
    "mtcnn_facenet": "facenet_20180408_casia.pb",
    "yunet_dlib": "face_detection_yunet_2023mar_int8bq.onnx",
    "mmod_dlib": "mmod_human_face_detector.dat",
    "yolov3_tiny_416": "yolov3-tiny.weights",
    "nanodet": "nanodet_416.onnx",
}


def need(variant: str) -> None:
    if not (ROOT / "models" / NEEDS[variant]).is_file():
        pytest.skip(f"models/{NEEDS[variant]} is not there: python3 -m handlers.models list says how to get it")


def test_a_node_with_all_models_can_run_every_type_but_those_whose_weights_are_in_no_package(
    shared_cluster: Cluster,
) -> None:
    """14 and, where npm was not there to fetch NanoDet, 20: unavailable, and the reason says how to get them."""
    missing = {m.id for m in manifest().models if "all" in m.sets and not (ROOT / "models" / m.file).is_file()}
    if missing:
        pytest.skip(f"scripts/setup --models all brings {', '.join(sorted(missing))}")
    rows = requests.get(f"{shared_cluster.edge.url}/handlers", timeout=60).json()["handlers"]
    assert [r["handler_type"] for r in rows] == list(range(23))
    why = {r["handler_type"]: r["reason"] for r in rows if not r["available"]}
    wanted = {14: "openface-nn4-small2", 20: "nanodet"}
    files = {m.id: ROOT / "models" / m.file for m in manifest().models}
    assert why.keys() == {t for t, model in wanted.items() if not files[model].is_file()}
    for handler_type, reason in why.items():
        assert reason.startswith("weights not installed: ")
        assert f"python3 -m handlers.models fetch --path {ROOT}/models {wanted[handler_type]}" in reason


@pytest.mark.parametrize("variant", ["yunet_sface", "mtcnn_facenet", "yunet_dlib", "mmod_dlib"])
def test_people_get_their_names(shared_cluster: Cluster, variant: str) -> None:
    need(variant)
    for session in opened(shared_cluster.url, "face_recognition", variant=variant, pin=SPLIT):
        for photo, name in (("obama2", "obama"), ("biden2", "biden"), ("astronaut", "unknown")):
            answer = session.post((PHOTOS / f"{photo}.jpg").read_bytes())
            assert answer.status_code == 200
            assert [b["label"] for b in answer.json()["boxes"]] == [name]


@pytest.mark.parametrize("variant", ["yolov3_tiny_416", "nanodet"])
def test_a_gpu_that_is_not_there_is_refused_with_the_reason(shared_cluster: Cluster, variant: str) -> None:
    need(variant)
    request = {"service": "object_detection", "variant": variant, "params": {1: {"gpu": True}}}
    answer = requests.post(f"{shared_cluster.url}/sessions", json=request, timeout=60)
    assert answer.status_code == 507, answer.text
    assert answer.json()["reasons"] == {"1": "has no GPU", "2": "has no GPU"}


@pytest.mark.parametrize("variant", ["yolov3_tiny_416", "nanodet"])
def test_people_are_tracked(shared_cluster: Cluster, variant: str) -> None:
    need(variant)
    for session in opened(shared_cluster.url, "people_tracking", variant=variant, pin=SPLIT):
        answers = [session.post((PHOTOS / "obama_and_biden.jpg").read_bytes()).json() for _ in range(2)]
        numbers = [{b["track_id"] for b in answer["boxes"]} for answer in answers]
        assert numbers[0] == numbers[1] != set()
