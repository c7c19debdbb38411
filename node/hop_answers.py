"""Reading the answers to packets: 202s by the dozen, anything else by httptools."""

import socket

import httptools

from node.http11 import ACCEPTED, Disconnected

RECEIVE_SIZE = 4096  # bytes asked for at a time


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
