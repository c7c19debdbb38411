"""A client that costs little: one thread, many kept connections, each with one frame under way.

Both systems of a comparison are driven by this, so that its own CPU does not decide between them.
"""

import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

TIMEOUT_S = 60.0


@dataclass
class Wire:
    """One connection and what has come of the answer on it."""

    sock: socket.socket
    sent: float = 0.0
    got: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True)
class Answered:
    """One answer: when its frame was sent and how long it took, both in s, and its body."""

    sent: float
    seconds: float
    body: bytes


class Load:
    """Posts the same frame again and again to *url* over *connections* kept connections."""

    def __init__(
        self, url: str, frame: bytes, connections: int, media_type: str = "image/jpeg", accept: str = "application/json"
    ) -> None:
        parts = urlsplit(url)
        self._frame = memoryview(frame)
        self._head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: {media_type}\r\nAccept: {accept}\r\n"
            f"Content-Length: {len(frame)}\r\n\r\n"
        ).encode()
        self._selector = selectors.DefaultSelector()
        self._wires = [self._connect(parts.hostname or "", parts.port or 80) for _ in range(connections)]

    def _connect(self, host: str, port: int) -> Wire:
        sock = socket.create_connection((host, port), timeout=TIMEOUT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = Wire(sock)
        self._selector.register(sock, selectors.EVENT_READ, wire)
        return wire

    def run(self, frames: int, seen: Callable[[Answered], None] = lambda answered: None) -> float:
        """Post *frames* frames, one on each connection at a time; returns the seconds until the last answer."""
        start = time.monotonic()
        left, open_ = frames, 0
        for wire in self._wires[:frames]:
            self._send(wire)
            left, open_ = left - 1, open_ + 1
        while open_:
            for wire in self._ready():
                answered = self._receive(wire)
                if answered is None:
                    continue
                seen(answered)
                open_ -= 1
                if left:
                    self._send(wire)
                    left, open_ = left - 1, open_ + 1
        return time.monotonic() - start

    def pace(self, frames: int, fps: float) -> list[Answered]:
        """Post *frames* frames, one each 1/fps s, on whichever connection is free; returns the answers."""
        start, answers = time.monotonic(), list[Answered]()
        free = list(self._wires)
        for number in range(frames):
            due = start + number / fps
            while (left := due - time.monotonic()) > 0 or not free:
                self._collect(max(left, 0.0) if free else TIMEOUT_S, free, answers)
            self._send(free.pop(0))
        while len(answers) < frames:
            self._collect(TIMEOUT_S, free, answers)
        return answers

    def _collect(self, timeout_s: float, free: list[Wire], answers: list[Answered]) -> None:
        for key, _ in self._selector.select(timeout_s):
            answered = self._receive(key.data)
            if answered is not None:
                answers.append(answered)
                free.append(key.data)

    def _ready(self) -> list[Wire]:
        ready = [key.data for key, _ in self._selector.select(TIMEOUT_S)]
        if not ready:
            raise TimeoutError(f"no answer for {TIMEOUT_S:.0f} s")
        return ready

    def _send(self, wire: Wire) -> None:
        wire.sent = time.monotonic()
        sent = wire.sock.sendmsg([self._head, self._frame])
        if sent < len(self._head) + len(self._frame):
            wire.sock.sendall(self._frame[sent - len(self._head) :])

    def _receive(self, wire: Wire) -> Answered | None:
        """Take what has come; returns the answer once it is whole. Raises RuntimeError for any but 200."""
        data = wire.sock.recv(1 << 20)
        if not data:
            raise ConnectionError("the server closed the connection")
        wire.got += data
        body_at = wire.got.find(b"\r\n\r\n") + 4
        if body_at < 4:
            return None
        head = bytes(wire.got[:body_at]).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(wire.got) < body_at + length:
            return None
        body = bytes(wire.got[body_at:])
        wire.got.clear()
        if b" 200 " not in head[:16]:
            raise RuntimeError(f"{head[:60]!r}: {body[:300]!r}")
        return Answered(wire.sent, time.monotonic() - wire.sent, body)

    def close(self) -> None:
        """Close all connections."""
        for wire in self._wires:
            self._selector.unregister(wire.sock)
            wire.sock.close()
        self._selector.close()
