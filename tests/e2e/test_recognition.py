"""face_recognition over two nodes by plain HTTP: the package's own figures, and every way to get a result."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import face_recognition
import numpy as np
import pytest
import requests
from numpy.typing import NDArray

from tests.conftest import Cluster
from tests.daemons import ROOT
from tests.e2e.live_session import SPLIT, LiveSession, opened, wait_for

PHOTOS = sorted((ROOT / "samples/photos").glob("*.jpg"))
GALLERY = sorted((ROOT / "samples/gallery").glob("*/*.jpg"))
THRESH = 0.6
TOLERANCE = 1e-6
ALWAYS = {0, 1, 2}  # handlers that every frame goes through; drawing is on demand

Result = dict[str, Any]


@pytest.fixture(scope="module")
def session(shared_cluster: Cluster) -> Iterator[LiveSession]:
    """decode and detect on node 1, recognize, draw and encode on node 2."""
    yield from opened(shared_cluster.url, "face_recognition", variant="hog", pin=SPLIT)


@pytest.fixture(scope="module")
def results(session: LiveSession) -> dict[Path, Result]:
    """Every photo, posted once, in order."""
    answers = {photo: session.post(photo.read_bytes()) for photo in PHOTOS}
    assert {response.status_code for response in answers.values()} == {200}
    return {photo: response.json() for photo, response in answers.items()}


def decoded(photo: Path) -> NDArray[np.uint8]:
    """Return *photo* as face_recognition wants it: uint8 (H, W, 3) RGB."""
    picture = cv2.imread(str(photo))
    assert picture is not None
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def faces(rgb: NDArray[np.uint8]) -> list[tuple[int, int, int, int]]:
    """Return face_recognition's boxes as x, y, w, h."""
    found = face_recognition.face_locations(rgb, number_of_times_to_upsample=1, model="hog")
    return [(left, top, right - left, bottom - top) for top, right, bottom, left in found]


def vectors(rgb: NDArray[np.uint8], boxes: list[tuple[int, int, int, int]]) -> list[NDArray[np.float64]]:
    """Return face_recognition's encodings of the faces in *boxes*, float64 (128,) each."""
    css = [(y, x + w, y + h, x) for x, y, w, h in boxes]
    encodings: list[NDArray[np.float64]] = face_recognition.face_encodings(rgb, css, num_jitters=1, model="small")
    return encodings


@pytest.fixture(scope="module")
def known() -> dict[str, NDArray[np.float64]]:
    """The gallery's people: the largest face of each picture."""
    found = {}
    for photo in GALLERY:
        rgb = decoded(photo)
        found[photo.parent.name] = vectors(rgb, [max(faces(rgb), key=lambda box: box[2] * box[3])])[0]
    return found


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda p: p.stem)
def test_boxes_distances_and_names_are_those_of_face_recognition(
    results: dict[Path, Result], known: dict[str, NDArray[np.float64]], photo: Path
) -> None:
    """Boxes to the pixel, distances within 1e-6, computed here in one process by the package's own calls."""
    rgb, result = decoded(photo), results[photo]
    expected = faces(rgb)
    assert [(box["x"], box["y"], box["w"], box["h"]) for box in result["boxes"]] == expected
    assert expected, "a sample photo without a face shows nothing"
    for box, vector in zip(result["boxes"], vectors(rgb, expected), strict=True):
        distances = face_recognition.face_distance(list(known.values()), vector)
        nearest = int(np.argmin(distances))
        assert box["distance"] == pytest.approx(distances[nearest], abs=TOLERANCE)
        assert box["label"] == (list(known)[nearest] if distances[nearest] <= THRESH else "unknown")


def test_a_result_tells_where_it_was_made(session: LiveSession, results: dict[Path, Result]) -> None:
    assert [r["sequence"] for r in results.values()] == list(range(len(PHOTOS)))
    for result in results.values():
        assert (result["status"], result["session_id"], result["epoch"]) == (
            "ok",
            session.id,
            session.document["epoch"],
        )
        assert {span["handler_id"]: span["node_id"] for span in result["trace"]} == {h: SPLIT[h] for h in ALWAYS}
        assert all(span["start"] <= span["end"] for span in result["trace"])
        spent_ms = sum(span["end"] - span["start"] for span in result["trace"]) * 1000
        assert spent_ms <= result["latency_ms"] + 1


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda p: p.stem)
def test_a_drawn_picture_has_the_photos_size_and_is_not_the_photo(
    session: LiveSession, results: dict[Path, Result], photo: Path
) -> None:
    response = session.post(photo.read_bytes(), Accept="image/jpeg")
    assert (response.status_code, response.headers["Content-Type"]) == (200, "image/jpeg")
    drawn = cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_COLOR)
    plain = cv2.imread(str(photo))
    assert drawn is not None and plain is not None
    assert drawn.shape == plain.shape
    assert np.abs(drawn.astype(int) - plain).max() > 100, "nothing is drawn"
    kept = session.result(response.headers["X-Frame-Sequence"]).json()
    assert {span["handler_id"]: span["node_id"] for span in kept["trace"]} == SPLIT
    assert kept["boxes"] == results[photo]["boxes"]


def test_a_result_can_be_fetched_again(session: LiveSession, results: dict[Path, Result]) -> None:
    for result in results.values():
        response = session.result(result["sequence"])
        assert (response.status_code, response.json()) == (200, result)


@pytest.mark.parametrize("after", [-1, 0, 2])
def test_the_result_stream_has_each_result_once_in_order(
    session: LiveSession, results: dict[Path, Result], after: int
) -> None:
    expected = [r for r in results.values() if r["sequence"] > after]
    assert session.results(len(expected), None if after < 0 else after) == expected


def test_results_come_as_server_sent_events(session: LiveSession, results: dict[Path, Result]) -> None:
    headers = {"Accept": "text/event-stream"}
    with requests.get(f"{session.results_url}?after=1", headers=headers, stream=True, timeout=10) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        lines = response.iter_lines(chunk_size=1)
        events = [[next(lines).decode() for _ in range(3)] for _ in range(3)]
    expected = list(results.values())[2:]
    assert [number for number, _, _ in events] == [f"id: {r['sequence']}" for r in expected]
    assert [json.loads(data.removeprefix("data: ")) for _, data, _ in events] == expected
    assert {end for _, _, end in events} == {""}


def test_a_stream_follows_results_that_come_later(session: LiveSession, results: dict[Path, Result]) -> None:
    """The stream is open before its frames are posted, by two clients at once."""
    last = session.post(PHOTOS[0].read_bytes()).json()["sequence"]
    with ThreadPoolExecutor(3) as pool:
        stream = pool.submit(session.attach().results, 6, last)
        posts = [pool.submit(post_three, session.attach()) for _ in range(2)]
        assert [r["sequence"] for r in stream.result(20)] == list(range(last + 1, last + 7))
    assert {status for post in posts for status in post.result()} == {200}


def post_three(session: LiveSession) -> list[int]:
    return [session.post(PHOTOS[0].read_bytes()).status_code for _ in range(3)]


def test_a_client_that_does_not_wait_is_told_where_the_result_will_be(
    session: LiveSession, results: dict[Path, Result]
) -> None:
    response = session.post(PHOTOS[2].read_bytes(), Prefer="respond-async")
    assert response.status_code == 202
    result = session.get(response.headers["Location"], Prefer="wait=20")
    assert (result.status_code, result.json()["status"]) == (200, "ok")
    assert result.json()["boxes"] == results[PHOTOS[2]]["boxes"]
    assert str(result.json()["sequence"]) == response.headers["Location"].rpartition("/")[2]


def test_a_client_whose_patience_ends_is_told_where_the_result_will_be(session: LiveSession) -> None:
    response = session.post(PHOTOS[0].read_bytes(), Prefer="wait=0")
    assert response.status_code == 202
    assert session.get(response.headers["Location"], Prefer="wait=20").json()["status"] == "ok"


def test_a_frame_has_the_time_that_its_client_says(session: LiveSession) -> None:
    result = session.post(PHOTOS[0].read_bytes(), X_Timestamp="1700000000.25").json()
    assert (result["timestamp"], result["status"]) == (1700000000.25, "ok")
    assert 0 < result["latency_ms"] < 30_000
    for wrong in ("now", "nan", "-1", "1e99"):
        assert session.post(PHOTOS[0].read_bytes(), X_Timestamp=wrong).status_code == 400


def test_a_repeat_returns_the_kept_result_and_is_no_frame(session: LiveSession) -> None:
    """Also when the first one is still under way; another client's same number is another frame."""
    photo = PHOTOS[1].read_bytes()
    first = session.post(photo, X_Client="e2e", X_Sequence="7").json()
    again = session.post(photo, X_Client="e2e", X_Sequence="7")
    assert (again.status_code, again.json()) == (200, first)
    other = session.post(photo, X_Client="other", X_Sequence="7").json()
    assert other["sequence"] == first["sequence"] + 1
    with ThreadPoolExecutor(3) as pool:
        clients = [session.attach() for _ in range(3)]
        answers = list(pool.map(lambda me: me.post(photo, X_Client="e2e", X_Sequence="8").json(), clients))
    assert [a["sequence"] for a in answers] == [other["sequence"] + 1] * 3
    books = session.settled_books(answers[0]["sequence"] + 1)
    assert books["frames_in"] == books["delivered"] == books["next_sequence"] == answers[0]["sequence"] + 1


def test_what_was_measured_arrives_in_the_database(
    shared_cluster: Cluster, session: LiveSession, results: dict[Path, Result]
) -> None:
    """Each frame's events of each handler from the node where it ran, once; both nodes' load; the link between."""
    wanted = {(r["sequence"], h, SPLIT[h]) for r in results.values() for h in ALWAYS}

    def ask(sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{shared_cluster.database}?mode=ro", uri=True)) as database:
            return database.execute(sql).fetchall()

    def events() -> Counter[tuple[int, int, int, str]]:
        rows = ask(f"SELECT sequence, handler_id, node_id, event FROM packet_info WHERE session_id = {session.id}")
        return Counter(rows)

    whole = {(*place, event) for place in wanted for event in ("recv", "start", "end")}
    wait_for(lambda: whole <= events().keys(), "events of every frame", lambda: whole - events().keys())
    assert {events()[place] for place in whole} == {1}
    assert {node for _, handler, node, _ in events() if handler == 2} == {2}
    wait_for(lambda: len(ask("SELECT DISTINCT node_id FROM sys_info")) == 2, "sys_info of both nodes")
    link = "SELECT SUM(frames), SUM(bytes) FROM link_info WHERE node_id = {} AND target_node_id = {}"
    wait_for(lambda: (ask(link.format(1, 2))[0][0] or 0) >= len(PHOTOS), "link_info from node 1 to node 2")
    assert ask(link.format(1, 2))[0][1] > len(PHOTOS) * 1000, "crops of faces are more than 1 KB each"
    assert (ask(link.format(2, 1))[0][0] or 0) >= len(PHOTOS), "every result goes back to the entry"
    coordinator = f"{shared_cluster.url}/sessions/{session.id}"

    def hops() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = requests.get(coordinator, timeout=10).json()["measured"]["hops"]
        return [h for h in found if (h["from_node"], h["to_node"]) == (1, 2)]

    def costs(hop: dict[str, Any]) -> bool:
        """A line through a few points may begin at 0 ms; then the bytes cost something."""
        return hop["latency_ms"] is not None and (hop["latency_ms"] > 0 or (hop["bytes_per_s"] or 0) > 0)

    wait_for(lambda: all(map(costs, hops())) and hops(), "what the hop costs", hops)
    handlers = f"SELECT handler_id, node_id, SUM(frames), MAX(cpu_util) FROM proc_info WHERE session_id = {session.id}"
    found = {row[:2]: row[2:] for row in ask(f"{handlers} GROUP BY handler_id, node_id")}
    assert found.keys() == set(SPLIT.items())
    assert all(found[(h, SPLIT[h])][0] >= len(PHOTOS) for h in ALWAYS)
    assert all(found[(h, SPLIT[h])][1] > 0 for h in ALWAYS)
