"""kill -9 of the entry's gateway: what it had delivered is known to the next one and is not processed again."""

import re
import signal
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest
import requests

from tests.conftest import Cluster
from tests.daemons import ROOT
from tests.e2e.live_session import LiveSession, opened, wait_for

DATA = (ROOT / "samples/photos/obama2.jpg").read_bytes()


@pytest.fixture
def session(shared_cluster: Cluster) -> Iterator[LiveSession]:
    yield from opened(shared_cluster.url, "face_detection", variant="haar", pin={0: 1, 1: 1, 2: 1, 3: 1}, entry_node=1)


def named(number: int, **headers: str) -> dict[str, str]:
    return {"X_Client": "me", "X_Sequence": str(number)} | headers


def test_a_repeat_gets_the_kept_result_from_the_next_gateway(session: LiveSession, shared_cluster: Cluster) -> None:
    first = session.post(DATA, **named(1)).json()
    drawn = session.post(DATA, **named(2, Accept="image/jpeg"))
    assert drawn.headers["Content-Type"] == "image/jpeg"
    pid = int(re.findall(r"gateway started, pid (\d+)", shared_cluster.edge.log.read_text())[-1])
    psutil.Process(pid).send_signal(signal.SIGKILL)
    repeats: list[requests.Response] = []

    def repeated() -> bool:
        with suppress(requests.ConnectionError):
            repeats[:] = [session.post(DATA, **named(1))]
        return bool(repeats) and repeats[0].status_code == 200

    wait_for(repeated, "the next gateway", lambda: repeats and repeats[0].text)
    assert repeats[0].json() == first
    again = session.post(DATA, **named(2, Accept="image/jpeg"))
    assert (again.content, again.headers["X-Frame-Sequence"]) == (drawn.content, drawn.headers["X-Frame-Sequence"])
    assert [r["sequence"] for r in session.results(2)] == [0, 1], "streams go on with what was kept"
    assert session.post(DATA, **named(3)).json()["sequence"] == 2
    books = session.settled_books(3)
    assert (books["frames_in"], books["delivered"], books["dropped"], books["dropped_at"]) == (3, 3, {}, {})
