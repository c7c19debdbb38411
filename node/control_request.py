"""The heads of the control API's requests: as strict as the data port's, and bounded."""

import contextlib
import socket
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import msgspec
from cheroot.server import HTTPConnection, HTTPRequest

from node.transport.http11 import HttpError, parse_head, reason_phrase
from wire.accept_filter import Ahead, ahead_of
from wire.problems import MEDIA_TYPE, document


class Request(HTTPRequest):
    """Refuses what cheroot takes: two lengths, negative and endless ones, and chunked bodies, which no client sends.

    A negative length would have it read until the peer closes, one over 2^63 ends in an OverflowError.
    """

    def read_request_headers(self) -> bool:
        """Read the head's other lines; returns False when the request was refused. Raises MaxSizeExceeded."""
        lines = b"".join(self._lines())
        try:
            parse_head(b"%b %b %b\r\n%b" % (self.method, self.uri, self.request_protocol, lines))
        except HttpError as error:
            self.simple_response(f"{error.status} {reason_phrase(error.status)}", str(error))
            return False
        self.rfile = BytesIO(lines)  # for cheroot to read them in its own way
        return bool(super().read_request_headers())  # type: ignore[no-untyped-call]

    def simple_response(self, status: object, msg: str = "") -> None:
        """Refuse as problem+json; the connection ends, since what of the request is unread is not known."""
        code, _, title = str(status).partition(" ")
        path = getattr(self, "uri", b"").partition(b"?")[0].decode("latin-1")
        body = msgspec.json.encode(document(int(code), title.lower().replace(" ", "-"), title, msg or title, path))
        head = f"HTTP/1.1 {code} {title}\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n"
        self.close_connection = True
        with contextlib.suppress(OSError):  # it has gone
            self.conn.wfile.write(head.encode("latin-1") + b"Connection: close\r\n\r\n" + body)

    def _lines(self) -> Iterator[bytes]:
        """Yield the lines to the blank one, or to the end of what comes."""
        while line := self.rfile.readline():
            yield line
            if line == b"\r\n":
                return


class Connection(HTTPConnection):
    """A connection whose requests are these, on a socket that reads ahead (wire.accept_filter)."""

    RequestHandlerClass = Request

    def __init__(self, server: Any, sock: socket.socket, makefile: Any) -> None:
        reads_ahead = sock if isinstance(sock, Ahead) else ahead_of(sock, None)
        super().__init__(server, reads_ahead, makefile)

    def read_ahead(self) -> bytes:
        """Take what was read beyond the last request."""
        return bytes(self.rfile.read1()) if self.rfile.has_data() else b""
