"""The header that carries a token; and which requests a browser sends on behalf of another site."""

from collections.abc import Callable

SCHEME = "Bearer"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def header(token: str | None) -> dict[str, str]:
    """Return the header that a client with *token* sends."""
    return {"Authorization": f"{SCHEME} {token}"} if token is not None else {}


def foreign(method: str, header: Callable[[str], str | None]) -> bool:
    """Return True when a page of another site has a browser send this change; *header* returns a header's value.

    Reading is harmless: the page cannot see the answer. Programs send neither Sec-Fetch-Site nor Origin, browsers
    at least one with every change. Source: Fetch Metadata Request Headers (W3C), section 2.3; RFC 6454.
    """
    if method in SAFE:
        return False
    site = header("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = header("Origin")
    return origin is not None and origin.partition("://")[2] != header("Host")
