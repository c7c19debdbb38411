"""Known people over HTTP: enrolled and removed while a session runs, refused when nobody can be seen, kept for good."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests

from tests.conftest import COORDINATOR, DATABASE, NODE, Cluster, StartDaemon, wait_for_nodes
from tests.daemons import ROOT, clean_environ
from tests.e2e.live_session import SPLIT, LiveSession

OBAMA2, OBAMA3 = ROOT / "samples/photos/obama2.jpg", ROOT / "samples/photos/obama3.jpg"
OBAMA, BIDEN = ROOT / "samples/gallery/obama/obama.jpg", ROOT / "samples/gallery/biden/biden.jpg"
BIDENS, BOTH = ROOT / "samples/photos/biden2.jpg", ROOT / "samples/photos/obama_and_biden.jpg"
RECOGNIZE = 2  # handler_id
EFFECTIVE_S = 5.0  # from an enrolment to the first result with the name


def put(url: str, path: str, picture: bytes | Path, media_type: str = "image/jpeg") -> requests.Response:
    data = picture if isinstance(picture, bytes) else picture.read_bytes()
    return requests.put(f"{url}/galleries/{path}", data=data, headers={"Content-Type": media_type}, timeout=30)


def delete(url: str, path: str) -> int:
    return requests.delete(f"{url}/galleries/{path}", timeout=10).status_code


@pytest.fixture
def staff(shared_cluster: Cluster) -> Iterator[str]:
    """The coordinator's URL; it has a gallery `staff` with Obama alone."""
    url = shared_cluster.url
    assert put(url, "staff/obama/1.jpg", OBAMA).status_code == 201
    yield url
    assert delete(url, "staff") == 204


def label_of(session: LiveSession, photo: Path) -> str:
    (box,) = session.post(photo.read_bytes()).json()["boxes"]
    return str(box["label"])


def wait_for_label(session: LiveSession, label: str, patience_s: float = EFFECTIVE_S, *, photo: Path = BIDENS) -> None:
    """Post the photo until the one in it is called *label*."""
    deadline, seen = time.monotonic() + patience_s, ""
    while time.monotonic() < deadline:
        seen = label_of(session, photo)
        if seen == label:
            return
        time.sleep(0.1)
    raise AssertionError(f"{label!r} was not seen in {patience_s} s but {seen!r}")


def test_a_running_recognizer_follows_its_gallery(staff: str) -> None:
    """Enrolled: named within 5 s; removed: unknown again. The node with the recognizer has a folder of its own too."""
    session = LiveSession.create(
        staff, "face_recognition", variant="hog", pin=SPLIT, params={RECOGNIZE: {"gallery": "staff"}}
    )
    try:
        wait_for_label(session, "unknown")
        assert put(staff, "staff/joe biden/é 1", BIDEN).status_code == 201
        wait_for_label(session, "joe biden")
        assert delete(staff, "staff/joe biden/é 1") == 204
        wait_for_label(session, "unknown")
    finally:
        session.close()


def refute(url: str, label: str, photo: Path) -> requests.Response:
    jpeg = {"Content-Type": "image/jpeg"}
    return requests.post(f"{url}/galleries/staff/{label}/not", photo.read_bytes(), headers=jpeg, timeout=30)


@pytest.mark.parametrize("variant", ["hog", "yunet_sface"])
def test_this_is_not_obama(staff: str, variant: str) -> None:
    """A picture that is called by the wrong name is shown once more with "not": within 5 s it is unknown, other
    pictures of that person keep their name, and what was said can be taken back."""
    session = LiveSession.create(
        staff, "face_recognition", variant=variant, pin=SPLIT, params={RECOGNIZE: {"gallery": "staff"}}
    )
    try:
        assert [label_of(session, OBAMA2), label_of(session, OBAMA3)] == ["obama", "obama"]
        said = refute(staff, "obama", OBAMA2)
        assert (said.status_code, said.json()["change"]) == (201, "added")
        wait_for_label(session, "unknown", photo=OBAMA2)
        assert label_of(session, OBAMA3) == "obama"
        assert delete(staff, f"staff/obama/not/{said.json()['name']}") == 204
        wait_for_label(session, "obama", photo=OBAMA2)
    finally:
        session.close()


def test_what_is_not_obama_is_listed_once_and_can_be_looked_at(staff: str) -> None:
    first, again = refute(staff, "obama", OBAMA2), refute(staff, "obama", OBAMA2)
    assert [(r.status_code, r.json()["change"]) for r in (first, again)] == [(201, "added"), (200, "unchanged")]
    (entry,) = requests.get(f"{staff}/galleries/staff", timeout=5).json()["labels"]
    assert ([p["name"] for p in entry["pictures"]], [p["name"] for p in entry["not"]]) == (
        ["1.jpg"],
        [first.json()["name"]],
    )
    picture = requests.get(staff + first.headers["Location"], timeout=5)
    assert (picture.content, picture.headers["Content-Type"]) == (OBAMA2.read_bytes(), "image/jpeg")


@pytest.mark.parametrize(
    ("path", "status", "slug"),
    [("staff/nobody", 404, "unknown-label"), ("stuff/obama", 404, "unknown-gallery")],
)
def test_nobody_can_be_told_from_who_is_not_enrolled(staff: str, path: str, status: int, slug: str) -> None:
    jpeg = {"Content-Type": "image/jpeg"}
    response = requests.post(f"{staff}/galleries/{path}/not", OBAMA2.read_bytes(), headers=jpeg, timeout=30)
    assert (response.status_code, response.json()["type"]) == (status, f"/problems/{slug}")


def test_what_was_enrolled_comes_back(staff: str) -> None:
    answer = put(staff, "staff/biden/portrait", BIDEN).json()
    assert (answer["change"], answer["faces"], answer["note"]) == ("added", 1, None)
    response = requests.get(f"{staff}/galleries/staff", timeout=5)
    listing = response.json()
    assert listing["version"] == answer["version"]
    assert {e["label"]: [p["name"] for p in e["pictures"]] for e in listing["labels"]} == {
        "biden": ["portrait"],
        "obama": ["1.jpg"],
    }
    picture = requests.get(f"{staff}/galleries/staff/biden/portrait", timeout=5)
    assert (picture.content, picture.headers["Content-Type"]) == (BIDEN.read_bytes(), "image/jpeg")
    assert picture.headers["ETag"] == f'"{answer["sha256"]}"'
    (row,) = (g for g in requests.get(f"{staff}/galleries", timeout=5).json()["galleries"] if g["gallery"] == "staff")
    assert row == {"gallery": "staff", "version": listing["version"], "labels": 2, "pictures": 2}


def test_the_etag_changes_with_every_change_and_with_nothing_else(staff: str) -> None:
    url = f"{staff}/galleries/staff"
    first = requests.get(url, timeout=5)
    assert requests.get(url, headers={"If-None-Match": first.headers["ETag"]}, timeout=5).status_code == 304
    again = put(staff, "staff/obama/1.jpg", OBAMA)
    assert (again.status_code, again.json()["change"]) == (200, "unchanged")
    assert delete(staff, "staff/nobody/1.jpg") == 204
    assert requests.get(url, headers={"If-None-Match": first.headers["ETag"]}, timeout=5).status_code == 304
    assert put(staff, "staff/obama/1.jpg", BIDEN).json()["change"] == "replaced"
    changed = requests.get(url, headers={"If-None-Match": first.headers["ETag"]}, timeout=5)
    assert changed.status_code == 200
    assert changed.json()["version"] == first.json()["version"] + 1
    delete(staff, "staff")
    gone = requests.get(url, timeout=5)
    assert (gone.status_code, gone.json()["type"]) == (404, "/problems/unknown-gallery")
    put(staff, "staff/obama/1.jpg", OBAMA)
    assert requests.get(url, timeout=5).json()["version"] > changed.json()["version"]


def test_of_several_faces_the_largest_is_taken_and_the_answer_says_so(staff: str) -> None:
    answer = put(staff, "staff/two/1.jpg", BOTH).json()
    assert answer["faces"] == 2
    assert answer["note"] == "the largest of 2 faces was taken"
    assert min(answer["face"].values()) > 0


def blank() -> bytes:
    return bytes(cv2.imencode(".png", np.full((200, 200, 3), 127, np.uint8))[1])


def large() -> bytes:
    return bytes(cv2.imencode(".png", np.zeros((3000, 4000), np.uint8))[1])


@pytest.mark.parametrize(
    ("picture", "media_type", "status", "says"),
    [
        (blank(), "image/png", 422, "no face"),
        (large(), "image/png", 422, "more than 3686400 pixels"),
        (OBAMA.read_bytes()[:-2000], "image/jpeg", 422, "cut off"),
        (b"not a picture at all", "image/jpeg", 422, "known kind"),
        (b"", "image/jpeg", 422, "known kind"),
        (OBAMA.read_bytes(), "text/html", 415, "text/html"),
        (b"\xff\xd8\xff" + bytes(9 << 20), "image/jpeg", 413, "at most"),
    ],
    ids=["no face", "too many pixels", "cut off", "text", "empty", "wrong type", "too many bytes"],
)
def test_a_picture_that_shows_nobody_is_refused(
    staff: str, picture: bytes, media_type: str, status: int, says: str
) -> None:
    response = put(staff, "staff/nobody/1", picture, media_type)
    assert (response.status_code, response.headers["Content-Type"]) == (status, "application/problem+json")
    assert says in response.json()["detail"]
    assert requests.get(f"{staff}/galleries/staff/nobody/1", timeout=5).status_code == 404


@pytest.mark.parametrize(
    "path", [".hidden/a/1", "staff/..a/1", "staff/a/%5C", "staff/a/not", "staff/unknown/1", f"staff/a/{'x' * 129}"]
)
def test_names_that_could_mislead_are_refused(staff: str, path: str) -> None:
    response = put(staff, path, OBAMA)
    assert (response.status_code, response.json()["type"]) == (422, "/problems/wrong-name")


def test_a_session_with_an_unknown_gallery_is_refused_by_name(staff: str) -> None:
    body = {"service": "face_recognition", "variant": "hog", "params": {RECOGNIZE: {"gallery": "stuff"}}}
    for query in ("", "?dry_run=1"):
        response = requests.post(f"{staff}/sessions{query}", json=body, timeout=10)
        assert response.status_code == 422
        assert response.json()["pointer"] == f"/params/{RECOGNIZE}/gallery"
        assert "'stuff'" in response.json()["detail"] and "staff" in response.json()["detail"]


def test_a_gallery_survives_its_coordinator_and_serves_while_it_is_away(
    start_daemon: StartDaemon, tmp_path: Path
) -> None:
    """A node without a folder follows `default`, which need not exist; an absent coordinator changes nothing."""
    text = (COORDINATOR + DATABASE).format(folder=tmp_path)
    coordinator = start_daemon(text, name="coordinator")
    port = {"FACESERVICE_COORDINATOR_COORDINATOR_PORT": coordinator.url.rpartition(":")[2]}
    node = "\n".join(line for line in NODE.splitlines() if not line.startswith("gallery_path"))
    start_daemon(
        node.format(folder=tmp_path, root=ROOT, name="edge", node_id=1),
        {"FACESERVICE_NODE_EDGE_COORDINATOR_URL": coordinator.url},
        name="edge",
    )
    wait_for_nodes(coordinator.url, {1})
    session = LiveSession.create(coordinator.url, "face_recognition", variant="hog")
    wait_for_label(session, "unknown")
    assert put(coordinator.url, "default/biden/1", BIDEN).status_code == 201
    wait_for_label(session, "biden")
    coordinator.kill()
    wait_for_label(session, "biden")
    again = start_daemon(text, port, name="coordinator-again")
    assert requests.get(f"{again.url}/galleries/default/biden/1", timeout=5).content == BIDEN.read_bytes()
    wait_for_label(session, "biden")
    session.close()


def client(url: str, *words: str) -> "subprocess.CompletedProcess[str]":
    environ = clean_environ({"FACESERVICE_URL": url, "PYTHONPATH": str(ROOT)})
    return subprocess.run(
        [sys.executable, "-m", "client", *words], env=environ, capture_output=True, text=True, timeout=60
    )


def test_the_command_line_enrols_and_lists(staff: str, tmp_path: Path) -> None:
    """Each picture by itself; one with too many pixels is made smaller, one that shows nobody is named."""
    huge, empty = tmp_path / "huge.png", tmp_path / "empty.png"
    picture = cv2.imread(str(BIDEN))
    assert picture is not None
    cv2.imwrite(str(huge), cv2.copyMakeBorder(picture, 0, 1700, 0, 1700, cv2.BORDER_CONSTANT))  # 2340 x 1982
    empty.write_bytes(blank())
    done = client(staff, "enroll", "staff", "biden", str(BIDEN), str(huge), str(empty), str(tmp_path / "x"), "--json")
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert [(e["name"], e["change"]) for e in document["enrolled"]] == [("biden.jpg", "added"), ("huge.png", "added")]
    assert [Path(r["picture"]).name for r in document["refused"]] == ["empty.png", "x"]
    assert document["refused"][0]["reason"] == "there is no face in the picture"
    listed = client(staff, "galleries")
    assert listed.returncode == 0 and "staff" in listed.stdout
    again = client(staff, "enroll", "staff", "biden", str(BIDEN))
    assert again.returncode == 0 and "unchanged" in again.stdout
    told = client(staff, "enroll", "staff", "biden", "--not", str(OBAMA), "--json")
    assert (told.returncode, json.loads(told.stdout)["enrolled"][0]["change"]) == (0, "added")
    entries = requests.get(f"{staff}/galleries/staff", timeout=5).json()["labels"]
    assert {e["label"]: len(e["not"]) for e in entries} == {"biden": 1, "obama": 0}
