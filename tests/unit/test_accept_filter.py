"""When a request is there, and who gets a thread: nobody that is silent, drips, or never ends a handshake."""

import pytest

from wire.accept_filter import BODY, HEAD, is_whole

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", True),
        (POST + b"Content-Length: 3\r\n\r\nab", False),
        (POST + b"content-length:3\r\n\r\nabc", True),
        (POST + b"Content-Length: %d\r\n\r\n" % (BODY + 1), True),
        (POST + b"Content-Length: %d\r\n\r\n" % BODY, False),
        (POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n", True),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", True),
        (POST + b"Content-Length: -3\r\n\r\n", True),
        (POST + b"X-Content-Length: 3\r\n\r\n", True),
        (b"\x00" * HEAD, False),
        (b"\x00" * (HEAD + 1), True),
    ],
)
def test_a_request_is_there_with_its_head_and_a_short_body(data: bytes, whole: bool) -> None:
    assert is_whole(data) is whole
