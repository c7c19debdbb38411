"""camera_preview on a short video file: frames in order, as results and as MJPEG, and an end in order."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import requests
from numpy.typing import NDArray

from tests.conftest import Cluster
from tests.e2e.live_session import LiveSession, wait_for

FRAMES, FPS = 40, 20
BITS, SIDE = 6, 40  # a frame's number as white and black squares, the lowest bit first
SPLIT = {0: 1, 1: 2}  # capture on node 1, encode on node 2


def numbered(number: int) -> NDArray[np.uint8]:
    """Return a picture, uint8 (SIDE, BITS * SIDE, 3), that shows *number*."""
    bits = [255 if number >> bit & 1 else 0 for bit in range(BITS)]
    return np.repeat(np.array(bits, np.uint8), SIDE)[None, :, None].repeat(SIDE, 0).repeat(3, 2)


def shown(jpeg: bytes) -> int:
    """Return the number that a picture shows."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    assert picture.shape == (SIDE, BITS * SIDE)
    return sum(1 << bit for bit in range(BITS) if picture[SIDE // 2, bit * SIDE + SIDE // 2] > 127)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of FRAMES numbered pictures."""
    path = tmp_path_factory.mktemp("film") / "numbers.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (BITS * SIDE, SIDE))
    assert writer.isOpened()
    for number in range(FRAMES):
        writer.write(numbered(number))
    writer.release()
    return path


def camera(cluster: Cluster, film: Path) -> LiveSession:
    """Return a session, not started, whose camera is *film*."""
    params = {0: {"source": str(film)}}
    return LiveSession.create(cluster.url, "camera_preview", params=params, pin=SPLIT, start=False)


def pictures(url: str, opened: threading.Event) -> Iterator[bytes]:
    """Yield the pictures of an MJPEG stream until it ends."""
    with requests.get(url, stream=True, timeout=20) as response:
        assert response.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=frame"
        opened.set()
        body = response.raw
        while line := body.readline():
            assert line == b"--frame\r\n"
            head = dict(line.decode().strip().split(": ", 1) for line in iter(body.readline, b"\r\n"))
            assert head["Content-Type"] == "image/jpeg"
            yield body.read(int(head["Content-Length"]))
            assert body.read(2) == b"\r\n"


def stream(url: str, opened: threading.Event) -> list[dict[str, Any]]:
    """Return all results of a stream, until it ends."""
    with requests.get(url, stream=True, timeout=20) as response:
        opened.set()
        return [json.loads(line) for line in response.iter_lines() if line]


def ended(session: LiveSession) -> bool:
    return bool(session.look()["state"] == "stopped")


def test_a_film_is_shown_once_in_order_and_ends_its_session(shared_cluster: Cluster, film: Path) -> None:
    """Two viewers, a stream of results, and the film's own pace; all of them end with the film."""
    session = camera(shared_cluster, film)
    opened = [threading.Event() for _ in range(3)]
    with closing(session), ThreadPoolExecutor(3) as pool:
        viewers = [pool.submit(lambda e: [*pictures(session.document["video_url"], e)], event) for event in opened[:2]]
        listener = pool.submit(stream, session.results_url, opened[2])
        assert all(event.wait(10) for event in opened)
        assert session.command("start").json()["state"] == "running"
        for viewer in viewers:
            assert [shown(picture) for picture in viewer.result(20)] == list(range(FRAMES))
        results = listener.result(20)
        assert [r["sequence"] for r in results] == list(range(FRAMES))
        assert {r["status"] for r in results} == {"ok"}
        assert all({span["handler_id"]: span["node_id"] for span in r["trace"]} == SPLIT for r in results)
        assert results[-1]["timestamp"] - results[0]["timestamp"] > 0.7 * FRAMES / FPS
        wait_for(lambda: ended(session), "the end of the session", session.look)
        books = session.settled_books(FRAMES)
        assert (books["frames_in"], books["delivered"], books["dropped"]) == (FRAMES, FRAMES, {})
        assert session.look()["measured"]["source_ended"]
        history = requests.get(f"{session.coordinator}/sessions/{session.id}/events", timeout=10).json()["events"]
        assert [e["event"] for e in history] == ["created", "placed", "started", "stopped"]
        assert "source" in json.dumps(history[-1]["detail"])


def test_a_picture_is_fetched_by_the_url_in_its_result(shared_cluster: Cluster, film: Path) -> None:
    """Who comes after the end still gets what is kept; a camera takes no frames from clients."""
    session = camera(shared_cluster, film)
    with closing(session):
        session.command("start")
        assert session.post(b"a picture").status_code == 409
        results = session.results(FRAMES)
        for result in results[:: FRAMES // 4]:
            picture = session.get(result["image"]["url"], Accept="image/jpeg")
            assert (picture.status_code, picture.headers["Content-Type"]) == (200, "image/jpeg")
            assert shown(picture.content) == result["sequence"]
        wait_for(lambda: ended(session), "the end of the session", session.look)
        assert stream(session.results_url + f"?after={FRAMES - 3}", threading.Event()) == results[-2:]


def test_a_missing_film_is_told_when_the_session_is_made(shared_cluster: Cluster, tmp_path: Path) -> None:
    request = {"service": "camera_preview", "params": {0: {"source": str(tmp_path / "none.avi")}}}
    response = requests.post(f"{shared_cluster.url}/sessions", json=request, timeout=20)
    assert response.status_code == 507
    assert "no such file" in response.text


def test_a_session_deleted_in_mid_film_ends_its_viewers(shared_cluster: Cluster, film: Path) -> None:
    session = camera(shared_cluster, film)
    with closing(session), ThreadPoolExecutor(1) as pool:
        viewer = pictures(session.document["video_url"], threading.Event())
        session.command("start")
        assert [shown(next(viewer)) for _ in range(5)] == list(range(5))
        rest = pool.submit(list, viewer)
        session.close()
        numbers = [shown(picture) for picture in rest.result(20)]
        assert numbers == list(range(5, 5 + len(numbers)))
        assert len(numbers) < FRAMES - 5
    assert requests.get(session.document["video_url"], timeout=10).status_code == 404
