"""The heads of the control API's requests: as strict as the data port's, and bounded."""

from collections.abc import Iterator
from io import BytesIO

from cheroot.server import HTTPConnection, HTTPRequest

from node.transport.http11 import HttpError, parse_head, reason_phrase


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

    def _lines(self) -> Iterator[bytes]:
        """Yield the lines to the blank one, or to the end of what comes."""
        while line := self.rfile.readline():
            yield line
            if line == b"\r\n":
                return


class Connection(HTTPConnection):
    """A connection whose requests are these."""

    RequestHandlerClass = Request
