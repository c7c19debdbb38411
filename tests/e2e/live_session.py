"""A session on real daemons, as a client without FaceClient sees it: plain HTTP."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin

import requests

JPEG, JSON, PACKET = "image/jpeg", "application/json", "application/vnd.faceservice.packet"
SPLIT = {0: 1, 1: 1, 2: 2, 3: 2, 4: 2}  # decode and detect on node 1, the rest on node 2
TIMEOUT_S = 30.0


class LiveSession:
    """Made at a coordinator, deleted by close(). Not thread-safe; use one per thread (`attach`)."""

    def __init__(self, coordinator: str, document: dict[str, Any]) -> None:
        self.coordinator = coordinator
        self.document = document
        self.id: int = document["session_id"]
        self.url: str = document["session_url"]
        self.results_url: str = document["results_url"]
        self.http = requests.Session()
        self.http.trust_env = False

    @classmethod
    def create(cls, coordinator: str, service: str, **request: Any) -> "LiveSession":
        """POST /sessions."""
        response = requests.post(f"{coordinator}/sessions", json={"service": service} | request, timeout=TIMEOUT_S)
        assert response.status_code == 201, response.text
        return cls(coordinator, response.json())

    def attach(self) -> "LiveSession":
        """Return the same session with connections of its own."""
        return LiveSession(self.coordinator, self.document)

    def post(self, data: bytes, media_type: str = JPEG, **headers: str) -> requests.Response:
        """Post a frame; headers by keyword: X_Client="a"."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(self.url, data=data, headers={"Content-Type": media_type} | named, timeout=TIMEOUT_S)

    def get(self, url: str, **headers: str) -> requests.Response:
        """GET *url*, which may be relative to the session URL's host."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.get(urljoin(self.url, url), headers=named, timeout=TIMEOUT_S)

    def result(self, sequence: int | str, **headers: str) -> requests.Response:
        """GET results_url/<sequence>."""
        return self.get(f"{self.results_url}/{sequence}", **headers)

    def look(self) -> dict[str, Any]:
        """GET /sessions/<id> of the coordinator."""
        document: dict[str, Any] = requests.get(f"{self.coordinator}/sessions/{self.id}", timeout=TIMEOUT_S).json()
        return document

    def books(self) -> dict[str, Any] | None:
        """Return the accounts as the last heartbeat had them."""
        books: dict[str, Any] | None = self.look()["measured"]["books"]
        return books

    def settled_books(self, frames_in: int = 0) -> dict[str, Any]:
        """Return the accounts as soon as at least *frames_in* frames are in them and none is in flight."""
        found: dict[str, Any] = {}

        def settled() -> bool:
            found.update(self.books() or {})
            return bool(found) and found["frames_in"] >= frames_in and not found["in_flight"]

        wait_for(settled, f"books of {frames_in} frames to settle", lambda: found)
        return found

    def results(self, count: int, after: int | None = None) -> list[dict[str, Any]]:
        """Return the next *count* results of the NDJSON stream."""
        url = self.results_url if after is None else f"{self.results_url}?after={after}"
        with requests.get(url, stream=True, timeout=TIMEOUT_S) as response:
            assert response.headers["Content-Type"] == "application/x-ndjson"
            lines = (line for line in response.iter_lines(chunk_size=1) if line)
            return [json.loads(next(lines)) for _ in range(count)]

    def command(self, name: str) -> requests.Response:
        """POST /sessions/<id>/<name>."""
        return requests.post(f"{self.coordinator}/sessions/{self.id}/{name}", timeout=TIMEOUT_S)

    def close(self) -> None:
        """DELETE /sessions/<id>."""
        requests.delete(f"{self.coordinator}/sessions/{self.id}", timeout=TIMEOUT_S)
        self.http.close()


def opened(coordinator: str, service: str, **request: Any) -> Iterator[LiveSession]:
    """Yield a session, for fixtures."""
    session = LiveSession.create(coordinator, service, **request)
    yield session
    session.close()


def wait_for(
    condition: Callable[[], object], what: str, told: Callable[[], object] = str, patience_s: float = 15.0
) -> None:
    """Wait until *condition* holds; a failure says *what* was waited for and what *told* returns."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience_s:g} s for {what}: {told()}"
        time.sleep(0.05)
