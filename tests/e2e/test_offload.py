"""Services placed by hand: a camera on one node, the work on the other; in the older form and in the present one."""

from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.conftest import Cluster
from tests.daemons import ROOT
from tests.e2e.live_session import LiveSession, wait_for

FRAMES = 6


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of one photo."""
    path = tmp_path_factory.mktemp("film") / "people.avi"
    picture = np.asarray(cv2.imread(str(ROOT / "samples/photos/obama_and_biden.jpg")), np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, picture.shape[1::-1])
    for _ in range(FRAMES):
        writer.write(picture)
    writer.release()
    return path


def run(cluster: Cluster, service: str, film: Path, **more: Any) -> tuple[LiveSession, list[dict[str, Any]]]:
    """Return the session, which is closed, and the results of all frames."""
    params = {0: {"source": str(film), "fps": 0}}
    session = LiveSession.create(cluster.url, service, params=params, **more)
    with closing(session):
        results = session.results(FRAMES)
        wait_for(lambda: session.look()["state"] == "stopped", "the end of the film", session.look)
        assert session.settled_books(FRAMES)["delivered"] == FRAMES
    return session, results


def test_the_older_form_draws_faces_on_the_other_node(shared_cluster: Cluster, film: Path) -> None:
    session, results = run(shared_cluster, "offload_face_detection", film)
    placement = {int(h): nodes for h, nodes in session.document["placement"].items()}
    assert placement == {0: [1], 1: [1], 4: [2], 5: [2], 6: [2], 7: [2]}
    assert [r["sequence"] for r in results] == list(range(FRAMES))
    for result in results:
        assert (result["status"], result["image"]["media_type"]) == ("ok", "image/jpeg")
        assert {span["handler_id"]: [span["node_id"]] for span in result["trace"]} == placement


def test_people_are_named_far_from_their_camera(shared_cluster: Cluster, film: Path) -> None:
    if not (ROOT / "models/face_recognition_sface_2021dec_int8bq.onnx").is_file():
        pytest.skip("YuNet and SFace are not there: scripts/setup --models basic")
    _, results = run(shared_cluster, "offload_face_recognition", film)
    assert [sorted(b["label"] for b in r["boxes"]) for r in results] == [["biden", "obama"]] * FRAMES
    where = {span["handler_id"]: span["node_id"] for span in results[0]["trace"]}
    assert where == {0: 1, 1: 1, 2: 2, 3: 2, 4: 2}


def test_things_are_found_far_from_their_camera(shared_cluster: Cluster, film: Path) -> None:
    if not (ROOT / "models/yolov3-tiny.weights").is_file():
        pytest.skip("models/yolov3-tiny.weights is not there: scripts/setup --models all")
    _, results = run(shared_cluster, "offload_object_detection", film, variant="yolov3_tiny_416")
    assert all("person" in {b["label"] for b in r["boxes"]} for r in results)
