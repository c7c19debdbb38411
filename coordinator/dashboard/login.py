"""A browser's way in: the token is shown once, then a cookie stands for it. Pure but for the clock that is given.

The cookie is an expiry with an HMAC under a key derived from the token: nothing is kept, a new token ends all logins.
"""

import hashlib
import hmac

COOKIE = "faceservice"
LIFE_S = 12 * 3600


def issue(token: str, now: float) -> str:
    """Return a cookie's value that is good for LIFE_S from *now* (s since the epoch)."""
    expiry = str(int(now + LIFE_S))
    return f"{expiry}.{_sign(token, expiry)}"


def valid(cookie: str | None, token: str, now: float) -> bool:
    """Return True for a value that issue() gave for *token*, while it lasts."""
    expiry, _, signature = (cookie or "").partition(".")
    if not expiry.isascii() or not expiry.isdecimal() or len(expiry) > 12:
        return False
    genuine = hmac.compare_digest(signature.encode("utf-8", "replace"), _sign(token, expiry).encode())
    return genuine and now < int(expiry)


def _sign(token: str, expiry: str) -> str:
    key = hashlib.sha256(b"faceservice dashboard\0" + token.encode()).digest()
    return hmac.new(key, expiry.encode(), hashlib.sha256).hexdigest()
