"""One kept HTTP/1.1 connection per thread to whoever holds the session."""

import http.client
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from client.retry import Answer
from wire.credential import Credential


class Cut(Exception):
    """The connection could not be made, or ended before the whole answer was there."""


class Connection:
    """Sends a request, then receives the answer, as two steps, so that sends can be put in order."""

    def __init__(self, scheme: str, address: str, timeout_s: float, credential: Credential) -> None:
        """credential: whom to trust when *scheme* is https. Raises BadCertificate."""
        self._http = (
            http.client.HTTPSConnection(address, timeout=timeout_s, context=credential.context())
            if scheme == "https"
            else http.client.HTTPConnection(address, timeout=timeout_s)
        )

    def send(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> None:
        """Send the request. Raises Cut; not when the peer stopped reading but may still have answered."""
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            self._http.request(method, target or "/", body=body, headers=dict(headers))
        except (BrokenPipeError, ConnectionResetError):
            return  # it may have said why (413) before it closed: `receive` tells
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Cut(_words(error)) from error

    def receive(self) -> Answer:
        """Return the answer to the request sent last. Raises Cut."""
        if self._http.sock is None:
            raise Cut("connection reset")
        try:
            response = self._http.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Cut(_words(error)) from error
        if response.will_close:
            self.close()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, body)

    def close(self) -> None:
        """Close the socket; the next request opens another."""
        self._http.close()

    def abort(self) -> None:
        """End what another thread waits for here: it gets Cut."""
        sock = self._http.sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class Connections:
    """The connections of all threads; each thread keeps one per address."""

    def __init__(self, timeout_s: float, credential: Credential) -> None:
        self._timeout_s = timeout_s
        self._credential = credential
        self._local = threading.local()
        self._all: list[Connection] = []
        self._closed = False
        self._lock = threading.Lock()

    def to(self, url: str) -> Connection:
        """Return this thread's connection to the host of *url*. Raises Cut after `close`."""
        if self._closed:
            raise Cut("the client was closed")
        parts = urlsplit(url)
        mine: dict[tuple[str, str], Connection] = self._local.__dict__.setdefault("mine", {})
        key = (parts.scheme, parts.netloc)
        if key not in mine:
            mine[key] = Connection(parts.scheme, parts.netloc, self._timeout_s, self._credential)
            with self._lock:
                self._all.append(mine[key])
        return mine[key]

    def close(self) -> None:
        """End all; waiting threads get Cut."""
        self._closed = True
        with self._lock:
            for connection in self._all:
                connection.abort()


def _words(error: Exception) -> str:
    """Return *error* for people."""
    return str(error) or type(error).__name__
