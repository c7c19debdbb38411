"""HTTP/1.1 on blocking sockets: heads by httptools (llhttp, strict), bodies straight into the caller's memory."""

import contextlib
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote

import httptools
from msgspec import Struct

from wire.packet import Buffer

MAX_HEAD = 16 * 1024  # bytes of request line and headers
RECEIVE_SIZE = 4096  # bytes asked for while a head is awaited: more would be body, and copied twice
IOV_MAX = 1024  # pieces that one call to sendmsg takes
BODY_GRACE_S, BODY_RATE = 30.0, 64 * 1024  # a body must come within 30 s and a second for each 64 KiB
SKIP_SIZE = 64 * 1024  # bytes of an unwanted body read at a time
ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"  # a gateway's answer to a packet, to the byte
HEAD_END = b"\r\n\r\n"


class HttpError(Exception):
    """A request that cannot be served: status, a word, and whether the connection is still in step."""

    def __init__(
        self, status: int, detail: str, *, close: bool = False, retry_after: float | None = None, allow: str = ""
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.close = close
        self.retry_after = retry_after
        self.allow = allow  # methods, for 405


class Disconnected(ConnectionError):
    """The peer went away, or was silent for too long."""


class Request(Struct):
    """The head of a request; header names are lower case. A repeated head gives the same object again."""

    method: str
    path: list[str]  # percent-decoded segments
    query: dict[str, str]
    headers: dict[str, str]
    content_length: int
    keep_alive: bool
    expects_continue: bool = False  # the peer waits for a word before it sends the body
    resolved: Any = None  # what a view found out about this head, for when it comes again


class _Head:
    """Callbacks of httptools."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[str, str] = {}
        self.repeated: set[str] = set()
        self.complete = False
        self.keep_alive = False
        self.parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        if key in self.headers:
            self.repeated.add(key)
            text = f"{self.headers[key]}, {text}"  # as RFC 9110 5.3 combines them
        self.headers[key] = text

    def on_headers_complete(self) -> None:
        self.complete = True
        self.keep_alive = self.parser.should_keep_alive()  # asked after the message, llhttp has forgotten


class Connection:
    """One peer of the data port. Not thread-safe: a thread owns it.

    Heads are read into a small buffer that the connection keeps; what follows goes straight to where it belongs, so a
    body is copied once by the kernel and, but for its first bytes, by nobody else.
    """

    def __init__(self, sock: socket.socket, *, idle_s: float = 75.0, silence_s: float = 20.0) -> None:
        """idle_s: between requests; silence_s: within one, in either direction."""
        self._socket = sock
        self._buffer = memoryview(bytearray(MAX_HEAD))
        self._start = self._end = 0  # what of the buffer is read and not used
        self._idle_s = idle_s
        self._unread = 0  # bytes of the current body still to come
        self._expects = False
        self._head_only = False
        self.must_close = False  # a response has said that the connection ends with it
        self._last_head: bytes | None = None
        self._last_request: Request
        set_silence(sock, silence_s)

    def read_request(self) -> Request | None:
        """Return the next request's head, or None when the peer closed between requests.

        Raises HttpError for a head that is malformed or too long, Disconnected for a peer that is gone or silent.
        """
        head = self._read_head()
        if head is None:
            return None
        if head != self._last_head:  # frames of one size come with the same head again and again
            self._last_request, self._last_head = parse_head(head), head
        request = self._last_request
        self._unread = request.content_length
        self._head_only = request.method == "HEAD"
        self._expects = request.expects_continue
        return request

    def _read_head(self) -> bytes | None:
        waiting_since = time.monotonic()
        if self._start == self._end:  # nothing left of the last body: the common case
            self._start, self._end = 0, self._receive_head(False, waiting_since, 0)
            if not self._end:
                return None
        while True:
            have = bytes(self._buffer[self._start : self._end])
            end = have.find(HEAD_END)
            if end >= 0:
                self._start += end + len(HEAD_END)
                return have[: end + len(HEAD_END)]
            if self._start:  # make room: move the beginning of a head to the buffer's
                self._buffer[: len(have)] = have
                self._start, self._end = 0, len(have)
            if self._end == len(self._buffer):
                raise HttpError(431, f"head is over {MAX_HEAD} bytes", close=True)
            count = self._receive_head(bool(have), waiting_since, self._end)
            if not count:
                if have:
                    raise Disconnected("closed within a head")
                return None
            self._end += count

    def _receive_head(self, begun: bool, waiting_since: float, at: int) -> int:
        """Receive a piece of a head into the buffer at *at*; returns its length.

        A peer may be silent between heads for idle_s, within one only for silence_s.
        """
        room = self._buffer[at : at + RECEIVE_SIZE]
        while True:
            try:
                return self._socket.recv_into(room)
            except BlockingIOError as error:
                if begun or time.monotonic() - waiting_since > self._idle_s:
                    raise Disconnected("silent for too long") from error
            except OSError as error:
                raise Disconnected(str(error)) from error

    def read_body_into(self, view: memoryview) -> None:
        """Fill *view* (as long as the body) with the request's body. Raises Disconnected."""
        self._continue()
        have = min(self._end - self._start, len(view))
        view[:have] = self._buffer[self._start : self._start + have]
        self._start += have
        deadline = time.monotonic() + BODY_GRACE_S + len(view) / BODY_RATE
        while have < len(view):
            try:
                count = self._socket.recv_into(view[have:])
            except OSError as error:
                raise Disconnected(f"body stopped after {have} bytes: {error}") from error
            if not count:
                raise Disconnected(f"body ended after {have} of {len(view)} bytes")
            have += count
            if time.monotonic() > deadline:
                raise Disconnected(f"body too slow: {have} of {len(view)} bytes")
        self._unread = 0

    def read_body(self) -> bytearray:
        """Return the request's body."""
        body = bytearray(self._unread)
        self.read_body_into(memoryview(body))
        return body

    def skip_body(self, limit: int) -> bool:
        """Read and forget what is left of the body. Returns False when it is over *limit*: then close."""
        if not self._unread:
            return True
        if self._expects:
            return False  # never asked for it, so the peer may or may not send it
        if self._unread > limit:
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

    def send(self, *pieces: bytes | memoryview) -> None:
        """Send all of *pieces*. Raises Disconnected."""
        send_all(self._socket, pieces)

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
        try:
            self._socket.sendall(ACCEPTED)
        except OSError as error:
            raise Disconnected(str(error)) from error

    def start_chunks(self, headers: dict[str, str]) -> None:
        """Begin a response of unknown length that ends with the connection."""
        self.must_close = True
        lines = ["HTTP/1.1 200 OK", *(f"{k}: {v}" for k, v in headers.items()), "Connection: close"]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def peer_gone(self) -> bool:
        """Return True when the peer has closed its end."""
        try:
            return not self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def linger(self, seconds: float = 2.0) -> None:
        """Let the peer read the last response before the connection closes: what it still sends is thrown away.

        Closing a socket with unread data resets the connection, and the response is lost (RFC 9112, 9.6).
        """
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            set_silence(self._socket, seconds)
            deadline, scratch = time.monotonic() + seconds, bytearray(SKIP_SIZE)
            while self._socket.recv_into(scratch) and time.monotonic() < deadline:
                pass


def set_silence(sock: socket.socket, seconds: float) -> None:
    """Let calls on *sock* fail (BlockingIOError) after *seconds* of silence.

    By socket options: Python's own time-outs cost a poll(2) before every call.
    """
    sock.settimeout(None)
    value = struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))  # struct timeval
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, value)


def reason_phrase(status: int) -> str:
    """Return the standard phrase of *status*."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def parse_head(head: bytes) -> Request:
    """Return the request whose head is *head* (with the blank line). Raises HttpError."""
    found = _Head()
    parser = found.parser
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade as error:
        raise HttpError(400, "no protocol upgrade here", close=True) from error
    except httptools.HttpParserError as error:
        raise HttpError(400, f"malformed head: {error}", close=True) from error
    finally:
        del found.parser  # the two hold each other, and the collector is slow
    if not found.complete:
        raise HttpError(400, "malformed head", close=True)
    try:
        url = httptools.parse_url(found.url)
        path = url.path.decode("ascii").split("/")[1:]
        if b"%" in url.path:
            path = [unquote(part, errors="strict") for part in path]
        query = dict(parse_qsl(url.query.decode("ascii"))) if url.query else {}
    except (httptools.HttpParserInvalidURLError, UnicodeError, AttributeError) as error:
        raise HttpError(400, "malformed path", close=True) from error
    return Request(
        method=parser.get_method().decode("ascii"),
        path=path,
        query=query,
        headers=found.headers,
        content_length=_content_length(found),
        keep_alive=found.keep_alive,
        expects_continue=found.headers.get("expect", "").lower() == "100-continue",
    )


def _content_length(head: _Head) -> int:
    """Return the body's length. Raises HttpError: chunked bodies can't be received into one slot."""
    if "transfer-encoding" in head.headers:
        raise HttpError(411, "send the body with Content-Length, not chunked", close=True)
    if "content-length" in head.repeated:
        raise HttpError(400, "two lengths", close=True)
    text = head.headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise HttpError(400, f"Content-Length is {text[:20]!r}", close=True)
    return int(text)


def send_all(sock: socket.socket, pieces: Sequence[Buffer], size: int = -1) -> None:
    """Send *pieces* (*size* bytes, where known) with as few calls and copies as can be. Raises Disconnected."""
    try:
        sent = sock.sendmsg(pieces if len(pieces) <= IOV_MAX else pieces[:IOV_MAX])
        if sent == size:
            return
        views = [memoryview(p).cast("B") for p in pieces]
        left = sum(map(len, views)) - sent
        while left:
            while sent >= len(views[0]):
                sent -= len(views.pop(0))
            views[0] = views[0][sent:]
            sent = sock.sendmsg(views[:IOV_MAX])
            left -= sent
    except OSError as error:
        raise Disconnected(str(error)) from error


class _Answer:
    """Callbacks of httptools for a response."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.done = False
        self.keep = False
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.done = True
        self.keep = self.parser.should_keep_alive()  # asked later, llhttp says no


def read_answer(sock: socket.socket) -> tuple[int, dict[str, str], bytes, bool]:
    """Return (status, headers, body, keep alive) of the response that comes next. Raises Disconnected."""
    answer: _Answer | None = None
    while answer is None or not answer.done:
        try:
            data = sock.recv(RECEIVE_SIZE)
            if data == ACCEPTED and answer is None:
                return 202, {}, b"", True
            if not data:
                raise Disconnected("closed before the answer")
            answer = answer or _Answer()
            answer.parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise Disconnected(f"not an HTTP answer: {error}") from error
        except OSError as error:
            raise Disconnected(str(error)) from error
    return answer.parser.get_status_code(), answer.headers, bytes(answer.body), answer.keep


def prefer(headers: dict[str, str]) -> dict[str, str]:
    """Return the preferences of the Prefer header (RFC 7240), e.g. {"wait": "5", "respond-async": ""}."""
    found: dict[str, str] = {}
    for part in headers.get("prefer", "").split(","):
        name, _, value = part.partition(";")[0].strip().partition("=")
        if name:
            found.setdefault(name.strip().lower(), value.strip('" '))
    return found


def accepts(headers: dict[str, str], names: Iterable[str]) -> str | None:
    """Return the first of *names* (media types, our order of preference) that the Accept header allows by q > 0."""
    text = headers.get("accept") or "*/*"
    ranges: dict[str, float] = {}
    for part in text.split(","):
        media, *parameters = [p.strip() for p in part.split(";")]
        quality = next((p[2:] for p in parameters if p.lower().startswith("q=")), "1")
        try:
            ranges[media.lower()] = min(max(0.0, float(quality)), 1.0)  # NaN is 0.0
        except ValueError:
            ranges[media.lower()] = 0.0
    offers = [(ranges.get(n, ranges.get(n.split("/")[0] + "/*", ranges.get("*/*", 0.0))), n) for n in names]
    best = max((q for q, _ in offers), default=0)
    return next((n for q, n in offers if q == best and q > 0), None)
