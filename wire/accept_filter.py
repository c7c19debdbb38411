"""Gives a connection to a server's thread when its request is there, and not before: as FreeBSD's accf_http does.

    new and kept connections ─ enter ─▶ one thread: TLS handshakes, heads and short bodies as they come ─▶ give
                                              └─ too slow, gone, or no TLS ─▶ drop

So that whoever is silent, drips, or never ends a handshake holds a place here, which costs little, and no thread.
Bounds: WAIT_S for handshake and request together; GUESTS connections, of which the one that waits longest goes first.
"""

import contextlib
import logging
import re
import selectors
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from wire.tls import NOT_TLS

WAIT_S = 10.0  # from a connection's beginning, or the first byte of a further request, to its end
BODY_S = 20.0  # how long a thread waits for more of a body that is too long to wait for here
GUESTS = 500
HEAD, BODY = 16 << 10, 64 << 10  # bytes that are waited for; what is longer is the server's affair
RECEIVE_SIZE = 16 << 10
HEAD_END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n", re.IGNORECASE)

logger = logging.getLogger(__name__)
Guest = TypeVar("Guest")


def is_whole(data: bytes | bytearray) -> bool:
    """Return whether *data* begins with a request that may be served: its head, and its body if that is short.

    What is no request, or says two lengths, is there as soon as a head could be: the server refuses it.
    """
    end = data.find(HEAD_END)
    if end < 0:
        return len(data) > HEAD
    head = bytes(data[: end + len(HEAD_END)])
    found = LENGTH.search(head)
    if found is None or b"\r\nexpect:" in head.lower():
        return True
    return int(found[1]) > BODY or len(data) >= len(head) + int(found[1])


class Ahead:
    """A connected socket that has read ahead: `recv` and `recv_into` give that first."""

    ahead = bytearray()  # of the class: never changed

    def recv(self, size: int = 1024, flags: int = 0) -> bytes:
        """Return at most *size* bytes."""
        if not self.ahead:
            return bytes(super().recv(size, flags))  # type: ignore[misc]
        data = bytes(self.ahead[:size])
        if not flags & socket.MSG_PEEK:
            del self.ahead[:size]
        return data

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Receive into *buffer*; return the count."""
        size = nbytes or len(buffer)
        if not self.ahead:
            return int(super().recv_into(buffer, size, flags))  # type: ignore[misc]
        data = self.recv(size, flags)
        memoryview(buffer)[: len(data)] = data
        return len(data)

    def look(self) -> bool:
        """Read what has come, without waiting; return whether a request is there. Raises OSError, also at the end."""
        while not is_whole(self.ahead):
            try:
                data = super().recv(RECEIVE_SIZE)  # type: ignore[misc]
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return False
            if not data:
                raise ConnectionResetError("closed before its request")
            self.ahead += data
        return True


class PlainAhead(Ahead, socket.socket):
    """Without TLS."""


class TlsAhead(Ahead, ssl.SSLSocket):
    """With TLS; whoever reads first makes the handshake."""


AheadSocket = PlainAhead | TlsAhead


def ahead_of(sock: socket.socket, tls: ssl.SSLContext | None) -> AheadSocket:
    """Return *sock*, just accepted, as one that reads ahead, not blocking; it is used up. Raises OSError."""
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(BODY_S), 0))
    made: AheadSocket
    if tls is None:
        made = PlainAhead(fileno=sock.detach())
        made.setblocking(False)
    else:
        tls.sslsocket_class = TlsAhead
        made = tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)  # type: ignore[assignment]
    made.ahead = bytearray()
    return made


class AcceptFilter(Generic[Guest]):
    """enter() from any thread. give and drop are called there, or in the filter's own: they must not block."""

    def __init__(self, give: Callable[[Guest], None], drop: Callable[[Guest], None]) -> None:
        """give: its request is there; drop: it shall be closed."""
        self._give, self._drop = give, drop
        self._new: deque[tuple[AheadSocket, Guest]] = deque()
        # by number of the socket, oldest first; the float: until when, monotonic s
        self._guests: dict[int, tuple[AheadSocket, Guest, float]] = {}
        self._selector = selectors.DefaultSelector()
        self._hears, self._bell = socket.socketpair()
        self._hears.setblocking(False)
        self._bell.setblocking(False)
        self._selector.register(self._hears, selectors.EVENT_READ)
        self._ended = False
        threading.Thread(target=self._run, name="accept filter", daemon=True).start()

    def enter(self, sock: AheadSocket, guest: Guest) -> None:
        """Wait for the next request of *guest*, whose connection is *sock*."""
        if (there := _look(sock)) is not None:
            self._settle(guest, there)
        elif self._ended:
            self._drop(guest)
        else:
            self._new.append((sock, guest))
            self._ring()

    def end(self) -> None:
        """Drop all guests; from now on who comes without a whole request is dropped at once."""
        self._ended = True
        self._ring()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # it rings already, or nobody listens any more
            self._bell.send(b"!")

    def _settle(self, guest: Guest, there: bool) -> None:
        (self._give if there else self._drop)(guest)

    def _run(self) -> None:
        while not self._ended:
            try:
                self._round()
            except Exception:
                logger.exception("accept filter")
        for number in list(self._guests):
            self._leave(number)
        while self._new:
            self._drop(self._new.popleft()[1])
        self._selector.close()
        self._hears.close()
        self._bell.close()

    def _round(self) -> None:
        first = next((deadline for _, _, deadline in self._guests.values()), None)
        for key, _ in self._selector.select(None if first is None else max(0.0, first - time.monotonic())):
            if key.fd in self._guests:
                self._advance(key.fd)
            else:
                self._hears.recv(4096)
        while self._new:
            self._register(*self._new.popleft())
        now = time.monotonic()
        while self._guests and next(iter(self._guests.values()))[2] <= now:
            self._leave(next(iter(self._guests)))

    def _register(self, sock: AheadSocket, guest: Guest) -> None:
        if len(self._guests) >= GUESTS:
            self._leave(next(iter(self._guests)))
        self._selector.register(sock, selectors.EVENT_READ)
        self._guests[sock.fileno()] = sock, guest, time.monotonic() + WAIT_S

    def _advance(self, number: int) -> None:
        sock, guest, _ = self._guests[number]
        there = _look(sock)
        if there is not None:
            self._selector.unregister(number)
            del self._guests[number]
            self._settle(guest, there)

    def _leave(self, number: int) -> None:
        _, guest, _ = self._guests.pop(number)
        self._selector.unregister(number)
        self._drop(guest)


def _look(sock: AheadSocket) -> bool | None:
    """Read what has come; return True when a request is there, False when none will be, None while that is open."""
    try:
        sock.setblocking(False)
        return sock.look() or None
    except (OSError, ValueError) as error:
        if isinstance(error, ssl.SSLError) and error.reason == "HTTP_REQUEST":
            with contextlib.suppress(OSError):
                socket.socket.send(sock, NOT_TLS)  # in clear text: it understands nothing else
                socket.socket.recv(sock, HEAD)  # what is unread when it is closed would cut the answer off
        return False
