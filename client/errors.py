"""What can go wrong for a client. Each message says what to do next."""

from typing import Any


class ClientError(Exception):
    """Base of the client's errors."""


class SourceError(ClientError):
    """A source of frames cannot be read."""


class CoordinatorAway(ClientError):
    """Nobody answers at the coordinator's address."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"no coordinator answers at {url} ({reason}): start one (python3 main.py config/coordinator.conf), "
            "or name another by --coordinator or FACESERVICE_URL"
        )


class Refused(ClientError):
    """A daemon answered with a problem (RFC 9457)."""

    def __init__(self, status: int, problem: dict[str, Any], what: str) -> None:
        self.status = status
        self.problem = problem
        told = problem.get("detail") or problem.get("title") or f"HTTP {status}"
        pointer = f" (at {problem['pointer']})" if problem.get("pointer") else ""
        super().__init__(f"{what}: {told}{pointer}{_advice(status)}")


class SessionGone(ClientError):
    """The session was deleted, failed, or does not run."""


class GaveUp(ClientError):
    """A frame got no result within the client's patience."""


def _advice(status: int) -> str:
    """Return what usually helps against *status*."""
    return {
        401: "; give the token by --token-file or FACESERVICE_TOKEN",
        403: "; this token may not do that",
        406: "; the service makes no picture: leave out --save",
        507: "; `python3 -m client nodes` shows what the nodes can run",
    }.get(status, "")
