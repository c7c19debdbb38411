"""The node where a session's frames come in is killed: the session goes on elsewhere, and its books balance (G1)."""

import threading
from contextlib import closing, suppress

import cv2
import requests

from tests.conftest import Cluster
from tests.daemons import ROOT
from tests.e2e.live_session import LiveSession, wait_for
from tests.faults.checker import balance

GAP = 1_000_000
CLIENTS = 6


def test_the_next_entry_counts_on_above_the_lost_ones_numbers(cluster: Cluster) -> None:
    small = cv2.imread(str(ROOT / "samples/photos/obama2.jpg"))
    assert small is not None
    photo = cv2.imencode(".jpg", small)[1].tobytes()
    with closing(LiveSession.create(cluster.url, "face_detection", variant="haar", entry_node=1)) as session:
        over = threading.Event()

        def post_on() -> None:
            client = session.attach()
            with suppress(requests.RequestException):
                while not over.is_set():
                    client.post(photo)

        clients = [threading.Thread(target=post_on) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        wait_for(lambda: (session.books() or {}).get("delivered", 0) >= 5, "results", session.books)
        wait_for(lambda: (session.books() or {}).get("in_flight", 0) >= 1, "frames in flight", session.books)
        cluster.edge.kill()
        over.set()
        for client in clients:
            client.join(30)
        wait_for(
            lambda: (session.look()["entry_node"], session.look()["state"]) == (2, "running"),
            "a new entry",
            session.look,
        )
        before = session.books()
        assert before is not None
        assert before["dropped"]["entry_lost"] >= 1
        assert not balance(before)
        moved = LiveSession(cluster.url, session.look())
        answers = [moved.post(photo).json() for _ in range(3)]
        assert [a["status"] for a in answers] == ["ok"] * 3
        first = answers[0]["sequence"]
        assert first >= before["frames_in"] + GAP
        assert [a["sequence"] for a in answers] == [first, first + 1, first + 2]
        books = session.settled_books(before["frames_in"] + 3)
        assert not balance(books)
        assert books["delivered"] == before["delivered"] + 3
        assert books["dropped"] == before["dropped"]
        assert books["next_sequence"] == first + 3
