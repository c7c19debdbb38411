"""A browser's way in: the token is shown once, then a cookie stands for it. Pure but for the clock that is given.

The cookie is an expiry with an HMAC under a key derived from the token's hash and the coordinator's own token, which
the file of tokens does not tell: nothing is kept, and a token that is removed ends its logins.
"""

import hashlib
import hmac

COOKIE = "faceservice"
LIFE_S = 12 * 3600


def key(sha256: str, own: str | None) -> str:
    """Return what signs the cookies of the token with that hash; own: what the coordinator alone knows."""
    return hmac.new((own or "").encode(), sha256.encode(), hashlib.sha256).hexdigest()


def issue(secret: str, now: float) -> str:
    """Return a cookie's value that is good for LIFE_S from *now* (s since the epoch)."""
    expiry = str(int(now + LIFE_S))
    return f"{expiry}.{_sign(secret, expiry)}"


def valid(cookie: str | None, secret: str, now: float) -> bool:
    """Return True for a value that issue() gave for *secret*, while it lasts."""
    expiry, _, signature = (cookie or "").partition(".")
    if not expiry.isascii() or not expiry.isdecimal() or len(expiry) > 12:
        return False
    genuine = hmac.compare_digest(signature.encode("utf-8", "replace"), _sign(secret, expiry).encode())
    return genuine and now < int(expiry)


def _sign(secret: str, expiry: str) -> str:
    own = hashlib.sha256(b"faceservice dashboard\0" + secret.encode()).digest()
    return hmac.new(own, expiry.encode(), hashlib.sha256).hexdigest()
