"""Problems: what an API answers when it cannot do what was asked (RFC 9457)."""

from collections.abc import Mapping
from typing import Any, ClassVar

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An honest refusal: status, `/problems/<slug>` as its type, title, detail, and members of its own."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str = "", *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    def body(self, instance: str) -> dict[str, Any]:
        """Return the problem document; *instance* is the path that was asked for."""
        return document(self.status, self.slug, self.title, self.detail, instance) | self.members


def document(status: int, slug: str, title: str, detail: str, instance: str) -> dict[str, Any]:
    """Return a problem document without members of its own."""
    return {"type": f"/problems/{slug}", "title": title, "status": status, "detail": detail, "instance": instance}


class BadRequest(Problem):
    status, slug, title = 400, "bad-request", "Malformed request"


class Unauthorized(Problem):
    status, slug, title = 401, "unauthorized", "A valid token is needed"

    def __init__(self, detail: str = "", *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer", **(headers or {})}, **members)


class Forbidden(Problem):
    status, slug, title = 403, "forbidden", "Not allowed with this token"


class NotFound(Problem):
    status, slug, title = 404, "not-found", "No such thing"


class RequestTimeout(Problem):
    status, slug, title = 408, "request-timeout", "The request did not come in time"


class Conflict(Problem):
    status, slug, title = 409, "conflict", "Not possible in this state"


class TooLarge(Problem):
    status, slug, title = 413, "too-large", "Body too large"


class UnsupportedMedia(Problem):
    status, slug, title = 415, "unsupported-media-type", "Unsupported media type"


class Unprocessable(Problem):
    """Valid JSON with wrong content; `pointer` is the JSON pointer (RFC 6901) of what is wrong."""

    status, slug, title = 422, "unprocessable", "Wrong content"

    def __init__(
        self,
        detail: str = "",
        *,
        pointer: str = "",
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail, headers=headers, pointer=pointer, **members)
        self.pointer = pointer


class Unavailable(Problem):
    """Full or not ready: try again after `retry_after` seconds."""

    status, slug, title = 503, "unavailable", "Not available now"

    def __init__(
        self,
        detail: str = "",
        *,
        retry_after: int = 1,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after), **(headers or {})}, **members)


class Unplaceable(Problem):
    status, slug, title = 507, "unplaceable", "No placement is possible"
