"""The entry moves to another node while clients post: no frame is lost, none twice, and the numbers go on (G1, G4)."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from client import FaceClient
from tests.conftest import Cluster
from tests.daemons import ROOT
from tests.e2e.live_session import LiveSession, opened, wait_for
from tests.faults.checker import balance

PHOTO = ROOT / "samples/photos/obama2.jpg"
CLIENTS = 3


@pytest.fixture
def session(shared_cluster: Cluster) -> Iterator[LiveSession]:
    yield from opened(shared_cluster.url, "face_detection", variant="haar", pin={0: 1, 1: 1, 2: 1, 3: 1})


class Poster(threading.Thread):
    """Posts by FaceClient, which follows the entry, until `over`."""

    def __init__(self, session: LiveSession, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.results: list[Any] = []
        self._session, self._over = session, over

    def run(self) -> None:
        with FaceClient(session=self._session.id, coordinator=self._session.coordinator) as client:
            while not self._over.is_set():
                self.results.append(client.post(PHOTO))


def move(session: LiveSession, to: int) -> None:
    """Move the whole session to node *to*."""
    pin = {str(h): to for h in range(4)}
    response = requests.post(f"{session.coordinator}/sessions/{session.id}/reallocate", json={"pin": pin}, timeout=60)
    assert response.status_code == 200, response.text
    assert session.look()["entry_node"] == to


def test_no_frame_is_lost_when_the_entry_moves_there_and_back(session: LiveSession) -> None:
    over = threading.Event()
    posters = [Poster(session, over) for _ in range(CLIENTS)]
    for poster in posters:
        poster.start()
    try:
        for to in (2, 1):
            seen = {poster: len(poster.results) for poster in posters}
            wait_for(lambda: all(len(p.results) >= seen[p] + 5 for p in posters), "results of each client")  # noqa: B023
            move(session, to)
        seen = {poster: len(poster.results) for poster in posters}
        wait_for(lambda: all(len(p.results) >= seen[p] + 5 for p in posters), "results after the moves")
    finally:
        over.set()
        for poster in posters:
            poster.join(60)
    results = [result for poster in posters for result in poster.results]
    assert {r.status for r in results} == {"ok"}
    books = session.settled_books(len(results))
    assert not balance(books)
    assert (books["frames_in"], books["delivered"], books["dropped"]) == (len(results), len(results), {}), books
    assert sorted(r.sequence for r in results) == list(range(len(results))), "numbers go on without a gap"
    assert books["next_sequence"] == len(results)


def test_a_handler_moves_without_a_frame_that_is_sent_again(session: LiveSession, shared_cluster: Cluster) -> None:
    """The old place works off what is on its way there, and ends when frames of its epoch are welcome no more."""
    processes = len(shared_cluster.edge.members())
    over = threading.Event()
    posters = [Poster(session, over) for _ in range(CLIENTS)]
    for poster in posters:
        poster.start()
    url = f"{session.coordinator}/sessions/{session.id}"
    try:
        for to in (2, 1, 2):
            seen = {poster: len(poster.results) for poster in posters}
            wait_for(lambda: all(len(p.results) >= seen[p] + 5 for p in posters), "results of each client")  # noqa: B023
            response = requests.post(f"{url}/reallocate", json={"pin": {"1": to}}, timeout=60)
            assert response.json()["placement"]["1"] == [to]
        wait_for(lambda: len(shared_cluster.edge.members()) == processes - 1, "the old one to end")
    finally:
        over.set()
        for poster in posters:
            poster.join(60)
    results = [result for poster in posters for result in poster.results]
    assert {r.status for r in results} == {"ok"}
    books = session.settled_books(len(results))
    assert (books["delivered"], books["dropped"]) == (len(results), {})
    slow = [r for r in results if r.latency_ms is None or r.latency_ms > 1000]  # not through when the old epoch ended
    assert books["resent"] <= len(slow)
    assert {s.node_id for r in results for s in r.trace if s.handler_id == 1} == {1, 2}


def test_an_entry_that_leaves_answers_repeats_and_lets_others_wait(session: LiveSession) -> None:
    data, name = PHOTO.read_bytes(), {"X_Client": "me", "X_Sequence": "1"}
    first = session.post(data, **name).json()
    node = session.look()["entry_node"]
    control = requests.get(f"{session.coordinator}/nodes/{node}", timeout=10).json()["control_url"]
    final = requests.post(f"{control}/sessions/{session.id}/handover", timeout=30).json()["books"]
    assert (final["frames_in"], final["delivered"], final["in_flight"], final["next_sequence"]) == (1, 1, 0, 1)
    assert session.post(data, **name).json() == first
    refused = session.post(data, Prefer="wait=0.1")
    assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
    assert "moving" in refused.json()["detail"]
    assert requests.post(f"{control}/sessions/999999/handover", timeout=30).status_code == 404
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(session.attach().post, data)
        move(session, 2)
        answer = waiting.result(30)
    assert answer.status_code == 404, "as soon as the session is elsewhere"
    moved = LiveSession(session.coordinator, session.look())
    assert moved.post(data).json()["sequence"] == 1
    assert session.settled_books(2)["dropped"] == {}
