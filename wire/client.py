"""The client of the control APIs, for daemons: kept connections, honest errors."""

import threading
from typing import Any, TypeVar

import msgspec
import requests
import urllib3

from wire.credential import Credential

CONNECT_S = 3.0  # a peer that does not take the connection in this time is away

NOT_MODIFIED = 304

T = TypeVar("T")


class PeerAway(Exception):
    """No answer: nobody listens there, or the time is over."""


class PeerError(Exception):
    """The peer refused; `problem` is its problem document (empty when it sent none)."""

    def __init__(self, url: str, status: int, problem: dict[str, Any]) -> None:
        self.status, self.problem = status, problem
        super().__init__(f"{url}: {status} {problem.get('detail') or problem.get('title') or ''}".rstrip())


def read(answer: bytes, kind: type[T]) -> T:
    """Return the JSON of an answer as *kind*. Raises msgspec.DecodeError, whatever is wrong with it."""
    try:
        return msgspec.json.decode(answer, type=kind)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error


class ControlClient:
    """Calls other daemons; one kept session per thread, so any thread may use it."""

    def __init__(self, credential: Credential | None = None) -> None:
        """credential: what it shows and whom it trusts (default: nothing, and whom the system trusts)."""
        self._credential = credential or Credential()
        self._local = threading.local()

    def get(self, url: str, timeout: float = 5.0) -> bytes:
        """Return the body of the answer. Raises PeerAway, PeerError."""
        return self._call("GET", url, None, timeout)

    def put(self, url: str, body: Any = None, timeout: float = 5.0) -> bytes:
        """Send *body* (a struct, or what JSON can hold) and return the answer's. Raises PeerAway, PeerError."""
        return self._call("PUT", url, body, timeout)

    def post(self, url: str, body: Any = None, timeout: float = 5.0) -> bytes:
        """Send *body* and return the answer's. Raises PeerAway, PeerError."""
        return self._call("POST", url, body, timeout)

    def delete(self, url: str, timeout: float = 5.0) -> bytes:
        """Return the body of the answer. Raises PeerAway, PeerError."""
        return self._call("DELETE", url, None, timeout)

    def fetch(self, url: str, etag: str | None = None, timeout: float = 5.0) -> tuple[bytes, str | None] | None:
        """Return what is there and its ETag; None while that is still *etag*. Raises PeerAway, PeerError."""
        response = self._answer("GET", url, None, {"If-None-Match": etag} if etag else None, timeout)
        return None if response.status_code == NOT_MODIFIED else (response.content, response.headers.get("ETag"))

    def upload(self, url: str, data: bytes, media_type: str, timeout: float = 5.0, method: str = "PUT") -> bytes:
        """Send *data* as it is and return the answer's body. Raises PeerAway, PeerError."""
        return self._answer(method, url, data, {"Content-Type": media_type}, timeout).content

    def close(self) -> None:
        """Close the connections of the calling thread; those of others close with their thread."""
        session = getattr(self._local, "session", None)
        if session is not None:
            session.close()
            del self._local.session

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        version = self._credential.version
        if session is None or self._local.version != version:
            self.close()
            session = requests.Session()
            session.trust_env = False  # no proxies, no .netrc: peers are named by the configuration alone
            session.headers.update(self._credential.header())
            session.verify = self._credential.bundle()
            self._local.session, self._local.version = session, version
        return session

    def _call(self, method: str, url: str, body: Any, timeout: float) -> bytes:
        data = None if body is None else msgspec.json.encode(body)
        headers = None if body is None else {"Content-Type": "application/json"}
        return self._answer(method, url, data, headers, timeout).content

    def _answer(
        self, method: str, url: str, data: bytes | None, headers: dict[str, str] | None, timeout: float
    ) -> requests.Response:
        """Return an answer with a status of success, or 304."""
        try:
            response = self._send(method, url, data, headers, timeout)
        except requests.RequestException as error:
            raise PeerAway(f"{url}: {_reason(error)}") from error
        if not 200 <= response.status_code < 300 and response.status_code != NOT_MODIFIED:
            raise PeerError(url, response.status_code, _problem(response))
        return response

    def _send(
        self, method: str, url: str, data: bytes | None, headers: dict[str, str] | None, timeout: float
    ) -> requests.Response:
        """Send; once more when a kept connection proves closed and the call is idempotent."""
        try:
            return self._once(method, url, data, headers, timeout)
        except requests.ConnectionError as error:
            closed = bool(error.args) and isinstance(error.args[0], urllib3.exceptions.ProtocolError)
            if method == "POST" or not closed:
                raise
        return self._once(method, url, data, headers, timeout)

    def _once(
        self, method: str, url: str, data: bytes | None, headers: dict[str, str] | None, timeout: float
    ) -> requests.Response:
        limits = (min(CONNECT_S, timeout), timeout)
        session = self._session()
        return session.request(method, url, data=data, headers=headers, timeout=limits, allow_redirects=False)


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__ or cause
    return getattr(cause, "strerror", None) or str(cause) or type(error).__name__


def _problem(response: requests.Response) -> dict[str, Any]:
    try:
        return read(response.content, dict[str, Any])
    except msgspec.DecodeError:
        return {}
