"""What the laboratory sees of sessions while faults happen: their states, and whether acknowledged ones are there."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import requests

LOOK_S = 0.3
TIMEOUT_S = 3.0
CREATE_TIMEOUT_S = 30.0
KEPT = 1  # passing sessions that live at a time


@dataclass(frozen=True)
class Look:
    """A session as a coordinator showed it; at: monotonic s."""

    at: float
    state: str
    reason: str
    entry_node: int
    epoch: int


class Watcher(threading.Thread):
    """Looks at sessions until `done`."""

    def __init__(self, urls: Sequence[str], session_ids: Sequence[int]) -> None:
        """urls: of coordinators; the first that answers is believed."""
        super().__init__(name="watcher", daemon=True)
        self._urls = urls
        self.looks: dict[int, list[Look]] = {session_id: [] for session_id in session_ids}
        self.done = threading.Event()

    def run(self) -> None:
        """Look."""
        while not self.done.wait(LOOK_S):
            for session_id, looks in self.looks.items():
                document = ask(self._urls, f"/sessions/{session_id}")
                if document is not None and "state" in document:
                    looks.append(read(document))


def read(document: dict[str, Any]) -> Look:
    """Return what *document* says of a session."""
    reason = str(document.get("reason") or "")
    return Look(time.monotonic(), document["state"], reason, document["entry_node"], document["epoch"])


def ask(urls: Sequence[str], path: str) -> dict[str, Any] | None:
    """Return the first answer, whatever its status, or None."""
    for url in urls:
        try:
            response = requests.get(url + path, timeout=TIMEOUT_S)
            document: dict[str, Any] = response.json()
        except (requests.RequestException, ValueError):
            continue
        if response.status_code < 500:
            return document
    return None


@dataclass
class Passing:
    """Sessions that were made and deleted meanwhile, by acknowledgement."""

    made: list[int] = field(default_factory=list)
    deleted: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class Churn(threading.Thread):
    """Makes short sessions and deletes them, until `done`; what is acknowledged must hold."""

    def __init__(self, url: str, request: dict[str, Any], pause_s: float) -> None:
        super().__init__(name="churn", daemon=True)
        self._url, self._request, self._pause_s = url, request, pause_s
        self.seen = Passing()
        self.done = threading.Event()

    def run(self) -> None:
        """Make and delete."""
        while not self.done.wait(self._pause_s):
            self._make()
            left = [s for s in self.seen.made if s not in self.seen.deleted]
            if len(left) > KEPT:
                self._end(left[0])

    def _make(self) -> None:
        document = self._ask("post", "/sessions", self._request)
        if document is not None:
            self.seen.made.append(document["session_id"])

    def _end(self, session_id: int) -> None:
        if self._ask("delete", f"/sessions/{session_id}") is not None:
            self.seen.deleted.append(session_id)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """Return the document of a good answer, else None."""
        try:
            response = requests.request(method, self._url + path, json=body, timeout=CREATE_TIMEOUT_S)
        except requests.RequestException as error:
            self.seen.refused.append(type(error).__name__)
            return None
        if response.ok:
            return dict(response.json()) if response.content else {}
        self.seen.refused.append(f"{response.status_code} {response.text[:200]}")
        return None

    def clean(self) -> None:
        """Delete what is left."""
        for session_id in set(self.seen.made) - set(self.seen.deleted):
            self._end(session_id)
