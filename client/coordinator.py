"""The coordinator as a client uses it."""

from typing import Any

import msgspec
from msgspec import Struct

from client.errors import CoordinatorAway, Refused
from client.frames import Frame
from wire.client import ControlClient, PeerAway, PeerError
from wire.credential import Credential
from wire.galleries import NOT, path_of
from wire.messages import SessionRequest

TIMEOUT_S = 10.0
ENROLL_TIMEOUT_S = 90.0  # a picture waits for its turn, then faces are looked for
PREPARE_TIMEOUT_S = 120.0  # a session answers when all its handlers have loaded their models


class Session(Struct, frozen=True, kw_only=True):
    """A session as the coordinator tells it; members that are not listed here stay in `document`."""

    session_id: int
    session_url: str
    results_url: str
    video_url: str = ""
    service: Any = None
    variant: Any = None
    state: str = ""
    epoch: int = 0
    placement: dict[str, Any] = {}
    reason: str | None = None
    document: dict[str, Any] = {}


class Coordinator:
    """Calls to one coordinator. Raises CoordinatorAway and Refused."""

    def __init__(self, url: str, credential: Credential | None = None) -> None:
        self.url = url.rstrip("/")
        self._http = ControlClient(credential)

    def get(self, path: str) -> dict[str, Any]:
        """Return the JSON object at *path*."""
        return self._call("get", path)

    def list_of(self, path: str, name: str) -> list[dict[str, Any]]:
        """Return the list called *name* in the answer at *path*."""
        return list(self.get(path).get(name, []))

    def create(self, request: SessionRequest) -> Session:
        """Create a session."""
        return _session(self._call("post", "/sessions", request, timeout_s=PREPARE_TIMEOUT_S))

    def dry_run(self, request: SessionRequest) -> dict[str, Any]:
        """Return how a session would be placed now."""
        return self._call("post", "/sessions?dry_run=1", request, timeout_s=PREPARE_TIMEOUT_S)

    def session(self, session_id: int) -> Session:
        """Return a session."""
        return _session(self.get(f"/sessions/{session_id}"))

    def delete(self, session_id: int) -> None:
        """Delete a session; also one that is deleted already."""
        self._call("delete", f"/sessions/{session_id}", timeout_s=30)

    def drain(self, node_id: int) -> dict[str, Any]:
        """Move everything away from a node."""
        return self._call("post", f"/nodes/{node_id}/drain", timeout_s=PREPARE_TIMEOUT_S)

    def enroll(self, gallery: str, label: str, picture: Frame) -> dict[str, Any]:
        """Make *label* known in *gallery* by a picture, under the picture's name."""
        return self._call("put", path_of(gallery, label, picture.name), picture, timeout_s=ENROLL_TIMEOUT_S)

    def refute(self, gallery: str, label: str, picture: Frame) -> dict[str, Any]:
        """Say that whom *picture* shows is not *label*."""
        return self._call("post", path_of(gallery, label, NOT), picture, timeout_s=ENROLL_TIMEOUT_S)

    def _call(
        self, method: str, path: str, body: Struct | Frame | None = None, timeout_s: float = TIMEOUT_S
    ) -> dict[str, Any]:
        url = self.url + path
        try:
            if isinstance(body, Frame):
                answer = self._http.upload(url, body.data, body.media_type, timeout_s, method.upper())
            elif method == "post":
                answer = self._http.post(url, body, timeout=timeout_s)
            else:
                answer = getattr(self._http, method)(url, timeout=timeout_s)
        except PeerAway as error:
            raise CoordinatorAway(self.url, str(error).removeprefix(f"{url}: ")) from error
        except PeerError as error:
            raise Refused(error.status, error.problem, f"{method.upper()} {path}") from error
        found = msgspec.json.decode(answer) if answer else {}
        return found if isinstance(found, dict) else {}


def _session(document: dict[str, Any]) -> Session:
    return msgspec.structs.replace(msgspec.convert(document, Session), document=document)
