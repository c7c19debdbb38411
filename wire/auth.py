"""The shared bearer token: who may use an API."""

import hmac

SCHEME = "Bearer"


def header(token: str | None) -> dict[str, str]:
    """Return the header that a client with *token* sends."""
    return {"Authorization": f"{SCHEME} {token}"} if token is not None else {}


def allowed(authorization: str | None, token: str | None) -> bool:
    """Return True when the Authorization header's value gives *token*, or none is configured. In constant time."""
    if token is None:
        return True
    scheme, _, given = (authorization or "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())
