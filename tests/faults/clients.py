"""Clients that post numbered frames and repeat each until it is answered, and one that listens to all results."""

import json
import threading
import time

import cv2
import numpy as np
import requests

from tests.e2e.live_session import LiveSession
from tests.faults.checker import Answer, Key

PATIENCE_S = 30.0
CUT = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError, requests.Timeout)
AGAIN = {404, 503}  # a new gateway does not know the session yet; it is full, or dropped the frame


class Client(threading.Thread):
    """Posts *pictures* in turn until `done` is set. `want`: ask for JSON, or for the drawn picture."""

    def __init__(self, name: str, session: LiveSession, pictures: list[tuple[bytes, object]], want: str) -> None:
        super().__init__(name=name, daemon=True)
        self.done = threading.Event()
        self.sent: dict[Key, object] = {}
        self.answers: list[Answer] = []
        self.latencies_s: list[float] = []
        self._session = session.attach()
        self._pictures = pictures
        self._want = want

    def run(self) -> None:
        number = 0
        while not self.done.is_set():
            data, boxes = self._pictures[number % len(self._pictures)]
            self.sent[(self.name, number)] = boxes
            self.answers.append(self._deliver((self.name, number), data))
            number += 1
        self._session.http.close()

    def _deliver(self, key: Key, data: bytes) -> Answer:
        began, attempts, told = time.monotonic(), 0, "never posted"
        while time.monotonic() - began < PATIENCE_S:
            attempts += 1
            try:
                headers = {"X_Client": key[0], "X_Sequence": str(key[1]), "Accept": self._want}
                response = self._session.post(data, **headers)
            except CUT as error:
                told = str(error)
            else:
                if response.status_code not in AGAIN:
                    self.latencies_s.append(time.monotonic() - began)
                    return read(key, response, attempts)
                told = response.text
            self.done.wait(0.05)
        return Answer(key, f"not answered: {told}", None, attempts=attempts)


def read(key: Key, response: requests.Response, attempts: int) -> Answer:
    """Return the record of a final answer."""
    if response.headers["Content-Type"] == "image/jpeg":
        picture = cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_COLOR)
        status = "no picture" if picture is None else "ok"
        return Answer(key, status, int(response.headers["X-Frame-Sequence"]), None, attempts)
    body = response.json()
    status = f"{response.status_code} {body.get('reason') or body}" if response.status_code != 200 else body["status"]
    return Answer(key, status, body.get("sequence"), body.get("boxes"), attempts)


class Listener(threading.Thread):
    """Reads the result stream until `done` is set; comes back after each cut, after the last that it has."""

    def __init__(self, session: LiveSession) -> None:
        super().__init__(name="listener", daemon=True)
        self.done = threading.Event()
        self.sequences: list[int] = []
        self._url = session.results_url

    def run(self) -> None:
        while not self.done.is_set():
            try:
                self._listen()
            except CUT:
                self.done.wait(0.05)

    def _listen(self) -> None:
        url = f"{self._url}?after={self.sequences[-1]}" if self.sequences else self._url
        with requests.get(url, stream=True, timeout=(5, 2)) as response:
            for line in response.iter_lines(chunk_size=1):
                if line and response.status_code == 200:
                    self.sequences.append(json.loads(line)["sequence"])
                if self.done.is_set():
                    return
        self.done.wait(0.05)
