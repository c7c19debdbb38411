"""The client library and command line against real daemons: two nodes, real models, real photos."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from client import FaceClient
from client.errors import ClientError
from tests.conftest import Cluster
from tests.daemons import ROOT, clean_environ

PHOTOS = ROOT / "samples" / "photos"
NAMES = {  # samples/README.md
    "astronaut.jpg": ["unknown"],
    "biden2.jpg": ["biden"],
    "obama2.jpg": ["obama"],
    "obama3.jpg": ["obama"],
    "obama_and_biden.jpg": ["biden", "obama"],
}
SPLIT = {0: 1, 1: 1, 2: 2, 3: 2, 4: 2}  # decode and detect on node 1, the rest on node 2


@pytest.fixture(scope="module")
def client(shared_cluster: Cluster) -> Iterator[FaceClient]:
    """A session of face_recognition over both nodes."""
    with FaceClient("face_recognition", coordinator=shared_cluster.url, pin=SPLIT, picture=True) as made:
        yield made


def command(cluster: Cluster, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run `python -m client WORDS` in *folder*."""
    environ = clean_environ({"FACESERVICE_URL": cluster.url, "PYTHONPATH": str(ROOT)})
    return subprocess.run(
        [sys.executable, "-m", "client", *words], cwd=folder, env=environ, capture_output=True, text=True, timeout=60
    )


def test_the_people_on_the_photos_are_named(client: FaceClient) -> None:
    results = list(client.stream(sorted(PHOTOS.glob("*.jpg"))))
    assert {r.name: sorted(box.label for box in r.boxes) for r in results} == NAMES
    for result in results:
        assert {step.handler_id: step.node_id for step in result.trace} == SPLIT
        assert all(step.received is not None and step.received <= step.start <= step.end for step in result.trace)
        drawn = cv2.imdecode(np.frombuffer(result.picture or b"", np.uint8), cv2.IMREAD_COLOR)
        plain = cv2.imread(str(PHOTOS / result.name))
        assert drawn is not None and plain is not None
        assert drawn.shape == plain.shape
        box = result.boxes[0]
        inside = (slice(max(0, box.y - 3), box.y + box.h + 3), slice(max(0, box.x - 3), box.x + box.w + 3))
        assert np.abs(drawn[inside].astype(int) - plain[inside]).max() > 100  # a frame was drawn around the face


def test_bad_pictures_fail_alone_and_say_why(client: FaceClient) -> None:
    good = (PHOTOS / "obama2.jpg").read_bytes()
    results = list(client.stream([b"", b"text", good[:2000], good]))
    assert [str(r.status) for r in results] == ["failed", "failed", "failed", "ok"]
    assert all(r.reason for r in results[:3])
    assert [box.label for box in results[3].boxes] == ["obama"]


def test_results_come_in_order_and_the_session_ends_with_the_client(shared_cluster: Cluster) -> None:
    photos = [PHOTOS / "obama2.jpg", PHOTOS / "astronaut.jpg"] * 10
    with FaceClient("face_detection", coordinator=shared_cluster.url, window=4) as made:
        assert made.session is not None
        results = list(made.stream(photos))
        assert [r.name for r in results] == [p.name for p in photos]
        assert all(r.ok and len(r.boxes) >= 1 for r in results)
        assert sorted(r.sequence for r in results if r.sequence is not None) == list(range(20))
        listed = made.coordinator.session(made.session.session_id)
        assert listed.state == "running"
    assert made.coordinator.session(made.session.session_id).state == "deleted"
    with pytest.raises(ClientError, match="deleted"):
        FaceClient(session=made.session.session_id, coordinator=shared_cluster.url)


def test_run_saves_pictures_and_exits_with_0_when_all_came_back(shared_cluster: Cluster, tmp_path: Path) -> None:
    """Paths are relative to the caller's folder, and may have spaces."""
    folder = tmp_path / "holiday pictures"
    folder.mkdir()
    (folder / "one obama.jpg").write_bytes((PHOTOS / "obama2.jpg").read_bytes())
    done = command(shared_cluster, tmp_path, "run", "face_recognition", "holiday pictures", "--save", "drawn here")
    assert done.returncode == 0, done.stderr
    assert "one obama.jpg: obama (0.3" in done.stdout
    assert cv2.imread(str(tmp_path / "drawn here" / "one obama.jpg")) is not None


def test_run_exits_with_1_when_a_frame_failed(shared_cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes((PHOTOS / "obama2.jpg").read_bytes()[:3000])
    done = command(shared_cluster, tmp_path, "run", "1", "broken.jpg", str(PHOTOS / "obama2.jpg"), "--json")
    assert done.returncode == 1
    broken, good = (json.loads(line) for line in done.stdout.splitlines())
    assert (broken["source"], broken["status"]) == ("broken.jpg", "failed")
    assert (good["source"], good["status"], good["boxes"][0]["label"]) == ("obama2.jpg", "ok", "obama")


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["run", "face_recognitoin", "{photo}"], 1, "face_recognitoin"),
        (["run", "face_recognition", "{photo}", "--variant", "cnn"], 1, "hog"),
        (["run", "face_recognition", "{photo}", "--pin", "1=7"], 1, "7"),
        (["run", "face_recognition", "{photo}", "--pin", "decode"], 2, "HANDLER=NODE"),
        (["run", "face_recognition", "nothing.jpg"], 1, "nothing.jpg"),
        (["explain", "4711"], 1, "4711"),
        (["drain", "nobody"], 1, "edge, server"),
        (["nodes", "--coordinator", "http://127.0.0.1:1"], 1, "FACESERVICE_URL"),
        (["nodes", "--token-file", "nothing.txt"], 2, "nothing.txt"),
    ],
)
def test_errors_say_what_was_wrong(
    shared_cluster: Cluster, tmp_path: Path, words: list[str], status: int, told: str
) -> None:
    done = command(shared_cluster, tmp_path, *(w.format(photo=PHOTOS / "obama2.jpg") for w in words))
    assert done.returncode == status
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("services", "face_recognition"),
        ("nodes", "edge"),
        ("sessions", "running"),
        ("algorithms", "least_loaded"),
        ("handlers", "HogDetectFaceHandler"),
    ],
)
def test_lists_are_tables_or_the_apis_json(
    shared_cluster: Cluster, client: FaceClient, tmp_path: Path, name: str, known: str
) -> None:
    table = command(shared_cluster, tmp_path, name)
    assert (table.returncode, table.stderr) == (0, "")
    assert known in table.stdout
    document = json.loads(command(shared_cluster, tmp_path, name, "--json").stdout)
    assert list(document) == [name]
    assert document[name] == client.coordinator.list_of(f"/{name}", name) or name in ("nodes", "sessions")


def test_explain_tells_where_each_handler_runs_and_why(
    shared_cluster: Cluster, client: FaceClient, tmp_path: Path
) -> None:
    assert client.session is not None
    done = command(shared_cluster, tmp_path, "explain", str(client.session.session_id))
    assert done.returncode == 0, done.stderr
    assert "is pinned to node" in done.stdout
    assert "placed" in done.stdout


def test_every_frame_comes_back_though_handlers_are_killed(cluster: Cluster) -> None:
    """kill -9 of each handler's process in mid-stream: all results come, in order, each once."""
    photos = [PHOTOS / "obama2.jpg"] * 24
    with FaceClient("face_recognition", coordinator=cluster.url, pin=SPLIT, window=4) as made:
        assert made.session is not None
        got = []
        for result in made.stream(photos):
            got.append(result.number)
            assert [box.label for box in result.boxes] == ["obama"], result.reason
            if result.number in (5, 12):
                _kill(made, handler_id=1 if result.number == 5 else 2)
        assert got == list(range(24))


def _kill(made: FaceClient, handler_id: int) -> None:
    assert made.session is not None
    measured = made.coordinator.session(made.session.session_id).document["measured"]
    (handler,) = (h for h in measured["handlers"] if h["handler_id"] == handler_id)
    psutil.Process(handler["pid"]).kill()


def test_a_stream_goes_on_while_the_coordinator_is_away(cluster: Cluster) -> None:
    with FaceClient("face_detection", coordinator=cluster.url, window=2) as made:
        results = made.stream([PHOTOS / "astronaut.jpg"] * 20)
        assert next(results).ok
        cluster.coordinator.kill()
        assert all(result.ok for result in results)
        cluster.restart("coordinator")


def test_the_demo_ends_with_names_rows_and_no_process(tmp_path: Path) -> None:
    """As a new user sees it, from a folder that is not the repository's."""
    done = subprocess.run(
        [sys.executable, "-m", "client.demo"],
        cwd=tmp_path,
        env=clean_environ({"PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("obama (0.3", "biden (0.2", "unknown", "hop 1→2 recognize", "all processes are gone"):
        assert words in done.stdout
    for table in ("sys_info", "proc_info", "packet_info", "link_info"):
        assert f"{table} 0" not in done.stdout


def test_each_result_comes_once_though_the_entry_node_dies(cluster: Cluster) -> None:
    """The session moves to the other node; the client finds it there, sends again, hands each result out once."""
    with FaceClient("face_detection", coordinator=cluster.url, window=4) as made:
        assert made.session is not None
        entry = {1: cluster.edge, 2: cluster.server}[made.session.document["entry_node"]]
        got = []
        for result in made.stream([PHOTOS / "obama2.jpg"] * 40):
            assert result.ok, result.reason
            got.append(result.number)
            if result.number == 8:
                entry.kill()
        assert got == list(range(40))
        assert made.coordinator.session(made.session.session_id).epoch > made.session.epoch
