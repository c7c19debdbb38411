"""Clients of the laboratory: they number their frames, post them in shuffled order, some twice, until answered."""

import contextlib
import json
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import cv2
import numpy as np
import requests

from tests.e2e.live_session import JPEG, JSON, LiveSession
from tests.faults import marks
from tests.faults.checker import Answer, Key
from tests.faults.plans import Kind, Sender

PATIENCE_S = 40.0  # for one frame's final answer
TIMEOUT_S = 6.0  # of one request
PAUSE_S = 0.02  # between a connection's frames
ASK_S = 1.0  # between questions where the entry is
BLOCK = 6  # frames that are shuffled
CUT = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError, requests.Timeout)


def through(url: str, host: str) -> str:
    """Return *url* by the door *host*."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{host}:{parts.port}"))


class Client:
    """Several connections that share one client's name and numbers; stop() and join() end it."""

    def __init__(self, name: str, number: int, sender: Sender, live: bool, seed: int, url: Callable[[], str]) -> None:
        """number: distinguishes its marks; url: where to post, asked anew after each cut."""
        self.name, self.sent, self.answers = name, dict[Key, int](), list[Answer]()
        self._base = number << 20
        self._sender, self._live, self._url = sender, live, url
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self._next = 0
        self._turns: deque[int] = deque()
        self.done = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{i}", daemon=True) for i in range(sender.connections)
        ]

    def mark(self, key: Key) -> int:
        """Return the number in the picture of *key*."""
        return self._base + key[1]

    def start(self) -> None:
        """Begin to post."""
        for thread in self._threads:
            thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end after `done`; returns whether it came."""
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        with requests.Session() as http:
            http.trust_env = False
            while (number := self._turn()) is not None:
                answer = self._deliver(http, number)
                with self._lock:
                    self.answers.append(answer)
                self.done.wait(PAUSE_S)

    def _turn(self) -> int | None:
        """Return the number of the next frame; after `done` only what is begun is brought to its end."""
        with self._lock:
            if not self._turns and not self.done.is_set():
                block = list(range(self._next, self._next + BLOCK))
                self._next += BLOCK
                block += [n for n in block if self._rng.random() < self._sender.twice]
                self._rng.shuffle(block)
                self._turns.extend(block)
            if not self._turns:
                return None
            number = self._turns.popleft()
            self.sent[self.name, number] = self.sent.get((self.name, number), 0) + 1
            return number

    def _deliver(self, http: requests.Session, number: int) -> Answer:
        began, attempts, told = time.monotonic(), 0, "never posted"
        body = marks.picture(self.mark((self.name, number)))
        while time.monotonic() - began < PATIENCE_S:
            attempts += 1
            try:
                response = self._exchange(http, number, body)
            except CUT as error:
                told = f"{type(error).__name__}: {error}"
            else:
                answer = read((self.name, number), response, attempts, began, self._live)
                if answer is not None:
                    return answer
                told = f"{response.status_code} {response.text[:200]}"
            threading.Event().wait(0.05)
        return Answer((self.name, number), "not answered", None, told=told, attempts=attempts, began=began)

    def _exchange(self, http: requests.Session, number: int, body: bytes) -> requests.Response:
        """Post, and with respond-async fetch the result from where the answer says."""
        url = self._url()
        headers = {"Content-Type": JPEG, "X-Client": self.name, "X-Sequence": str(number)}
        headers["Accept"] = JPEG if self._sender.kind is Kind.PICTURE else JSON
        if self._sender.kind is Kind.ASYNC:
            headers["Prefer"] = "respond-async, wait=5"
        else:
            headers["Prefer"] = "wait=5"
        response = http.post(url, data=body, headers=headers, timeout=TIMEOUT_S)
        if response.status_code != 202:
            return response
        where = urlsplit(url)._replace(path=response.headers["Location"]).geturl()
        return http.get(where, headers={"Accept": headers["Accept"], "Prefer": "wait=5"}, timeout=TIMEOUT_S)


def read(key: Key, response: requests.Response, attempts: int, began: float, live: bool) -> Answer | None:
    """Return the record of a final answer, or None when the frame must be posted again."""
    if response.status_code in (202, 404, 409):  # not there, not there any more, or not yet running there
        return None
    now, sequence = time.monotonic(), response.headers.get("X-Frame-Sequence")
    if sequence is None:
        if response.status_code in (429, 503):
            return None
        told = f"{response.status_code} {response.text[:200]}"
        return Answer(key, "refused", None, told=told, attempts=attempts, began=began, ended=now)
    if response.headers["Content-Type"] == JPEG:
        image = cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_COLOR)
        mark = None if image is None else marks.number_in(image)  # type: ignore[arg-type]
        return Answer(key, "ok", int(sequence), mark, attempts=attempts, began=began, ended=now)
    body = response.json()
    if body["status"] == "dropped" and not (live and str(body.get("reason", "")).startswith("live")):
        return None  # a lossless frame is sent again
    mark = body["boxes"][0]["x"] if body["boxes"] else None
    told = str(body.get("reason", ""))
    return Answer(key, body["status"], body["sequence"], mark, told, attempts, began=began, ended=now)


class Listener(threading.Thread):
    """Reads a session's result stream until `done`; comes back after each cut, after the last that it has."""

    def __init__(self, name: str, url: Callable[[], str], *, events: bool = False) -> None:
        """events: as server-sent events, else NDJSON."""
        super().__init__(name=name, daemon=True)
        self.done = threading.Event()
        self.results: list[dict[str, Any]] = []
        self._url, self._events = url, events

    @property
    def last(self) -> int:
        """The last sequence, -1 at the beginning."""
        return int(self.results[-1]["sequence"]) if self.results else -1

    def run(self) -> None:
        """Listen."""
        while not self.done.is_set():
            with contextlib.suppress(OSError, HTTPException):
                self._listen()
            self.done.wait(0.05)

    def _listen(self) -> None:
        parts = urlsplit(self._url())
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=2)
        path = f"{parts.path}/results" + (f"?after={self.last}" if self.results else "")
        media = "text/event-stream" if self._events else "application/x-ndjson"
        try:
            connection.request("GET", path, headers={"Accept": media})
            response = connection.getresponse()
            while response.status == 200 and not self.done.is_set() and (line := response.readline()):
                data = line.removeprefix(b"data: ")
                if data.startswith(b"{") and data.endswith(b"\n"):  # else it was cut within a line
                    self.results.append(json.loads(data))
        finally:
            connection.close()


class Whereabouts:
    """The session's URL, asked of the coordinator now and then: the entry may move. Safe to call from threads."""

    def __init__(self, session: LiveSession, host: Callable[[str], str]) -> None:
        """host: names the door for a node's address."""
        self._url, self._host = session.url, host
        self._document = f"{session.coordinator}/sessions/{session.id}"
        self._ask_at = time.monotonic() + ASK_S
        self._lock = threading.Lock()

    def __call__(self) -> str:
        """Return the URL by the door."""
        with self._lock:
            ask = time.monotonic() >= self._ask_at
            if ask:
                self._ask_at = time.monotonic() + ASK_S
        if ask:
            with contextlib.suppress(requests.RequestException, KeyError):  # no coordinator: nothing has moved
                self._url = requests.get(self._document, timeout=2).json()["session_url"]
        return through(self._url, self._host(urlsplit(self._url).hostname or ""))
