"""HTTP/1.1 of the frame path: heads by httptools (llhttp, strict), and what both ends of a connection share."""

import socket
import struct
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote

import httptools
from msgspec import Struct

from node.transport.tls_stream import Stream
from wire.packet import Buffer

MAX_HEAD = 16 * 1024  # bytes of request line and headers
IOV_MAX = 1024  # pieces that one call to sendmsg takes
ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"  # a gateway's answer to a packet, to the byte
HEAD_END = b"\r\n\r\n"
PIPELINED = "X-Pipelined"  # header of a packet that was sent before the one before it was answered


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


def set_silence(sock: Stream, seconds: float, *, sending_s: float | None = None) -> None:
    """Let calls on *sock* fail (BlockingIOError) after *seconds* of silence; those that send after *sending_s*.

    By socket options: Python's own time-outs cost a poll(2) before every call.
    """
    sock.settimeout(None)
    sending_s = seconds if sending_s is None else sending_s
    for option, limit in ((socket.SO_RCVTIMEO, seconds), (socket.SO_SNDTIMEO, sending_s)):
        value = struct.pack("@ll", int(limit), int(limit % 1 * 1_000_000))  # struct timeval
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
    if found.headers.get("content-encoding", "identity").lower() != "identity":
        raise HttpError(415, "bodies are taken as they are: no Content-Encoding", close=True)
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


def send_all(sock: Stream, pieces: Sequence[Buffer], size: int = -1) -> None:
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
