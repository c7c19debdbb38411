"""The answers to packets, as they come on one connection: 202s by the dozen, anything else by httptools."""

import socket
from collections.abc import Callable

import httptools
from msgspec import Struct

from node.transport.http11 import ACCEPTED, HEAD_END, Disconnected
from node.transport.tls_stream import Stream

ANSWER_S = 15.0  # a gateway that does not answer by then is stuck
LOOK_S = 0.5  # how often a waiting sender looks whether the answer still matters
RECEIVE_SIZE = 4096  # bytes asked for at a time
LONGEST = 1 << 20  # bytes of one answer: more is no gateway's


class Answer(Struct, frozen=True):
    """A gateway's word on one packet; header names are lower case."""

    status: int
    headers: dict[str, str]
    keep_alive: bool


def always() -> bool:
    """Return True: the packet is needed whatever happens."""
    return True


TAKEN = Answer(202, {}, True)


class _Head:
    """Callbacks of httptools."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.keep_alive = False
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.keep_alive = self.parser.should_keep_alive()


class Answers:
    """Reads the answers of one connection in order."""

    def __init__(self, sock: Stream) -> None:
        self._socket = sock
        self._have = bytearray()

    def next(self, *, wait: bool = True, matters: Callable[[], bool] = always) -> Answer | None:
        """Return the next answer; None when it is not there and nobody waits. Raises Disconnected, also when it does
        not *matter* any more: the socket lets go of a call after LOOK_S.
        """
        looks = 0
        while (answer := self._take()) is None:
            try:
                data = self._socket.recv(RECEIVE_SIZE, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError as error:
                if not wait:
                    return None
                looks += 1
                if looks * LOOK_S < ANSWER_S and matters():
                    continue
                raise Disconnected("no answer") from error
            except OSError as error:
                raise Disconnected(str(error)) from error
            if not data:
                raise Disconnected("closed before the answer")
            if data == ACCEPTED and not self._have:
                return TAKEN
            self._have += data
        return answer

    def _take(self) -> Answer | None:
        have = self._have
        if have.startswith(ACCEPTED):
            del have[: len(ACCEPTED)]
            return TAKEN
        end = have.find(HEAD_END)
        if end < 0:
            if len(have) > LONGEST:
                raise Disconnected("no end of an answer's head")
            return None
        end += len(HEAD_END)
        answer = parse_answer(bytes(have[:end]))
        length = body_length(answer)
        if len(have) < end + length:
            return None
        del have[: end + length]
        return answer


def parse_answer(head: bytes) -> Answer:
    """Return the answer whose head is *head*. Raises Disconnected."""
    found = _Head()
    parser = found.parser
    try:
        parser.feed_data(head)
    except httptools.HttpParserError as error:
        raise Disconnected(f"not an HTTP answer: {error}") from error
    finally:
        del found.parser  # the two hold each other, and the collector is slow
    return Answer(parser.get_status_code(), found.headers, found.keep_alive)


def body_length(answer: Answer) -> int:
    """Return the length of the answer's body, bytes. Raises Disconnected."""
    text = answer.headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= LONGEST):
        raise Disconnected(f"an answer of {text[:20]!r} bytes")
    return int(text)
