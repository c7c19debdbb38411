"""The server's side of a connection: heads into a small buffer, bodies straight into the caller's memory.

Two ways to read, of which a request takes one: `read_*` block, for a thread of the connection's own; `poll_*` take
what has come, for the loop that serves many. The socket itself is always a blocking one.
"""

import contextlib
import socket
import time
from collections.abc import Sequence

from node.transport.http11 import (
    ACCEPTED,
    HEAD_END,
    MAX_HEAD,
    Disconnected,
    HttpError,
    Request,
    parse_head,
    reason_phrase,
    send_all,
    set_silence,
)
from node.transport.tls_stream import Stream, TlsStream
from wire.packet import Buffer

RECEIVE_SIZE = 4096  # bytes asked for while a head is awaited: more would be body, and copied twice
BODY_GRACE_S, BODY_RATE = 30.0, 64 * 1024  # a body must come within 30 s and a second for each 64 KiB
SKIP_SIZE = 64 * 1024  # bytes of an unwanted body read at a time
KNOWN_HEADS = 8  # different heads that a connection remembers: frames of one size come with the same again and again


class Connection:
    """One peer of the data port. Not thread-safe: the loop or a thread owns it.

    A body is copied once by the kernel and, but for its first bytes, by nobody else.
    """

    def __init__(self, sock: Stream, *, idle_s: float = 75.0, silence_s: float = 20.0) -> None:
        """idle_s: between requests; silence_s: within one, in either direction."""
        self.socket = sock
        self._tls = sock if isinstance(sock, TlsStream) else None
        self.polled = False  # the loop owns it: nothing may block
        self.unsent: list[memoryview] = []  # what did not fit into the socket while polled
        self.idle_s = idle_s
        self.silence_s = silence_s
        self._buffer = memoryview(bytearray(MAX_HEAD))
        self._start = self._end = 0  # what of the buffer is read and not used
        self._got = 0  # bytes of a polled body that are there
        self._unread = 0  # bytes of the current body still to come
        self._expects = False
        self._head_only = False
        self.must_close = False  # a response has said that the connection ends with it
        self._known: dict[bytes, Request] = {}
        set_silence(sock, silence_s)

    # --- heads ---------------------------------------------------------------------------------------

    def read_request(self) -> Request | None:
        """Return the next request's head, or None when the peer closed between requests.

        Raises HttpError for a head that is malformed or too long, Disconnected for a peer that is gone or silent.
        """
        waiting_since = time.monotonic()
        while (request := self._buffered_request()) is None:
            begun = self.begun
            count = self._receive_head(begun, waiting_since)
            if not count:
                if begun:
                    raise Disconnected("closed within a head")
                return None
            self._end += count
        return request

    def poll_request(self) -> Request | None:
        """Return the next request's head when all of it is there. Raises HttpError; Disconnected, also in order."""
        while (request := self._buffered_request()) is None:
            count = self._poll_into(self._buffer[self._end : self._end + RECEIVE_SIZE])
            if not count:
                return None
            self._end += count
        return request

    @property
    def begun(self) -> bool:
        """True when some of the next request is there."""
        return self._end > self._start or (self._tls is not None and self._tls.pending)

    def _buffered_request(self) -> Request | None:
        """Return the request whose head is in the buffer, or None after making room for more of it."""
        if self._start == self._end:  # nothing left of the last body: the common case
            self._start = self._end = 0
            return None
        have = bytes(self._buffer[self._start : self._end])
        end = have.find(HEAD_END)
        if end < 0:
            if self._start:  # make room: move the beginning of a head to the buffer's
                self._buffer[: len(have)] = have
                self._start, self._end = 0, len(have)
            if self._end == len(self._buffer):
                raise HttpError(431, f"head is over {MAX_HEAD} bytes", close=True)
            return None
        self._start += end + len(HEAD_END)
        head = have[: end + len(HEAD_END)]
        request = self._known.get(head)
        if request is None:
            request = parse_head(head)
            if len(self._known) >= KNOWN_HEADS:
                self._known.clear()
            self._known[head] = request
        self._unread = request.content_length
        self._got = 0
        self._head_only = request.method == "HEAD"
        self._expects = request.expects_continue
        return request

    def _receive_head(self, begun: bool, waiting_since: float) -> int:
        """Receive a piece of a head into the buffer; returns its length.

        A peer may be silent between heads for idle_s, within one only for silence_s.
        """
        room = self._buffer[self._end : self._end + RECEIVE_SIZE]
        while True:
            try:
                return self.socket.recv_into(room)
            except BlockingIOError as error:
                if begun or time.monotonic() - waiting_since > self.idle_s:
                    raise Disconnected("silent for too long") from error
            except OSError as error:
                raise Disconnected(str(error)) from error

    def _poll_into(self, room: memoryview) -> int:
        """Receive into *room* what is there; returns its length, 0 when nothing is. Raises Disconnected at the end."""
        try:
            count = self.socket.recv_into(room, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Disconnected(str(error)) from error
        if not count:
            raise Disconnected("closed")
        return count

    # --- bodies --------------------------------------------------------------------------------------

    def read_body_into(self, view: memoryview) -> None:
        """Fill *view* (as long as the body) with the request's body. Raises Disconnected."""
        self._continue()
        have = self._take_buffered(view)
        deadline = time.monotonic() + body_seconds(len(view))
        while have < len(view):
            try:
                count = self.socket.recv_into(view[have:])
            except OSError as error:
                raise Disconnected(f"body stopped after {have} bytes: {error}") from error
            if not count:
                raise Disconnected(f"body ended after {have} of {len(view)} bytes")
            have += count
            if time.monotonic() > deadline:
                raise Disconnected(f"body too slow: {have} of {len(view)} bytes")
        self._unread = 0

    def poll_body(self, view: memoryview) -> bool:
        """Put what has come of the request's body into *view*, the same each time; True when all is there."""
        if not self._got:
            self._got = self._take_buffered(view)
        while self._got < len(view):
            count = self._poll_into(view[self._got :])
            if not count:
                return False
            self._got += count
        self._unread = self._got = 0
        return True

    def poll_skip(self) -> bool:
        """Forget what has come of the request's body; True when all of it has."""
        buffered = min(self._end - self._start, self._unread)
        self._start += buffered
        self._unread -= buffered
        scratch = memoryview(bytearray(min(self._unread, SKIP_SIZE)))
        while self._unread:
            count = self._poll_into(scratch[: self._unread])
            if not count:
                return False
            self._unread -= count
        return True

    def _take_buffered(self, view: memoryview) -> int:
        """Move what came of the body with the head into *view*; returns its length."""
        have = min(self._end - self._start, len(view))
        view[:have] = self._buffer[self._start : self._start + have]
        self._start += have
        return have

    def read_body(self) -> bytearray:
        """Return the request's body."""
        body = bytearray(self._unread)
        self.read_body_into(memoryview(body))
        return body

    def may_skip(self, limit: int) -> bool:
        """Return whether the rest of the body is one to read and forget: else the connection must close.

        Not one over *limit*, nor one that was never asked for: the peer may or may not send it.
        """
        return not self._unread or (not self._expects and self._unread <= limit)

    def skip_body(self, limit: int) -> bool:
        """Read and forget what is left of the body. Returns False when it is over *limit*: then close."""
        if not self.may_skip(limit):
            return False
        scratch = memoryview(bytearray(min(self._unread, SKIP_SIZE)))
        while self._unread:
            part = scratch[: min(self._unread, len(scratch))]
            left = self._unread - len(part)
            self.read_body_into(part)
            self._unread = left
        return True

    def _continue(self) -> None:
        if self._expects:
            self._expects = False
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    # --- answers -------------------------------------------------------------------------------------

    def send(self, *pieces: bytes | memoryview) -> None:
        """Send all of *pieces*; while polled what does not fit stays in `unsent`. Raises Disconnected."""
        if self.polled:
            self._send_what_fits(pieces)
        else:
            send_all(self.socket, pieces)

    def _send_what_fits(self, pieces: Sequence[Buffer]) -> None:
        try:
            sent = 0 if self.unsent else self.socket.sendmsg(pieces, (), socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise Disconnected(str(error)) from error
        for piece in pieces:
            view = memoryview(piece).cast("B")
            if sent < len(view):
                self.unsent.append(view[sent:])
            sent = max(0, sent - len(view))
        if self._tls is not None and self._tls.owes:
            self.unsent.append(memoryview(b""))  # nothing more to encrypt, but to send

    def flush(self) -> None:
        """Send what did not fit before, blocking. Raises Disconnected."""
        pieces, self.unsent = self.unsent, []
        if pieces:
            send_all(self.socket, pieces)

    def respond(self, status: int, headers: dict[str, str], body: bytes = b"", *, close: bool = False) -> None:
        """Send a whole response."""
        lines = [f"HTTP/1.1 {status} {reason_phrase(status)}", f"Content-Length: {len(body)}"]
        lines += [f"{k}: {v}" for k, v in headers.items()]
        if close:
            self.must_close = True
            lines.append("Connection: close")
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"), b"" if self._head_only else body)

    def accept(self) -> None:
        """Answer a packet with 202, without the generality of `respond`."""
        self.send(ACCEPTED)

    def start_chunks(self, headers: dict[str, str]) -> None:
        """Begin a response of unknown length that ends with the connection."""
        self.must_close = True
        lines = ["HTTP/1.1 200 OK", *(f"{k}: {v}" for k, v in headers.items()), "Connection: close"]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    # --- the end -------------------------------------------------------------------------------------

    def peer_gone(self) -> bool:
        """Return True when the peer has closed its end."""
        try:
            return not self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def linger(self, seconds: float = 2.0) -> None:
        """Let the peer read the last response before the connection closes: what it still sends is thrown away.

        Closing a socket with unread data resets the connection, and the response is lost (RFC 9112, 9.6).
        """
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            set_silence(self.socket, seconds)
            deadline, scratch = time.monotonic() + seconds, bytearray(SKIP_SIZE)
            while self.socket.recv_into(scratch) and time.monotonic() < deadline:
                pass


def body_seconds(size: int) -> float:
    """Return how long a body of *size* bytes may take, s."""
    return BODY_GRACE_S + size / BODY_RATE
