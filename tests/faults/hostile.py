"""Posts that no good client sends: corrupt, giant, half, left alone, or dripping. Plain sockets."""

import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.faults import marks
from tests.faults.plans import What

MARK = 0xDEAD0000  # of the good pictures among them: no client's
GIANT = 3 << 30  # bytes announced
TIMEOUT_S = 20.0
PIECES = 10


@dataclass(frozen=True)
class Told:
    """What became of a hostile post; status None: no answer, or the connection was cut."""

    what: What
    status: int | None
    detail: str = ""
    sent: bool = False  # a whole frame went out: it may have been taken


def post(url: str, what: What, amount_s: float) -> Told:
    """Post as *what* says; a slow one takes *amount_s*."""
    parts = urlsplit(url)
    body = marks.picture(MARK)
    if what is What.CORRUPT:
        body = b"\xff\xd8" + bytes(range(256)) * 8
    length = GIANT if what is What.GIANT else len(body)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: image/jpeg\r\n"
        f"Prefer: wait=5\r\nContent-Length: {length}\r\n\r\n"
    ).encode()
    with suppress(OSError), socket.create_connection((parts.hostname or "", parts.port or 80), TIMEOUT_S) as peer:
        peer.sendall(head)
        return _body(peer, body, what, amount_s)
    return Told(what, None, "cut")


def _body(peer: socket.socket, body: bytes, what: What, amount_s: float) -> Told:
    if what is What.HALF:
        peer.sendall(body[: len(body) // 2])
        time.sleep(amount_s / 2)
        _reset(peer)
        return Told(what, None)
    if what is What.DRIBBLE:
        step = len(body) // PIECES
        for at in range(0, len(body), step):
            peer.sendall(body[at : at + step])
            time.sleep(amount_s / PIECES)
    else:
        peer.sendall(body)
    if what is What.LEAVE:
        _reset(peer)
        return Told(what, None, sent=True)
    answer = peer.recv(1 << 16)
    status = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else None
    return Told(what, status, answer[-300:].decode("utf-8", "replace"), sent=what is not What.GIANT)


def _reset(peer: socket.socket) -> None:
    """End the connection by RST, as the kernel does for a killed client with unread data."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
