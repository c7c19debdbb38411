"""The dashboard's HTTP side: the page and its files, the feed, login and logout."""

import time
from pathlib import Path

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from msgspec import Struct

from coordinator.dashboard import login
from coordinator.dashboard.feed import Feed, TooManyPages
from wire.access import Identity, Role
from wire.guard import Guard
from wire.openapi import bodies
from wire.tokens import Token
from wire.web import Forbidden, NotFound, TooLarge, Unauthorized, Unavailable, decode

MAX_LOGIN = 4096  # bytes
STATIC = Path(__file__).resolve().parent / "static"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FILES = {p.name: p.read_bytes() for p in sorted(STATIC.iterdir()) if p.suffix in KINDS}
# pictures and video come from the nodes; nothing else may come from elsewhere, and no other page may frame ours
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; "
    "img-src 'self' blob: data: http: https:; frame-ancestors 'none'; base-uri 'none'"
)
SAFETY = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Login(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /login."""

    token: str


def make(feed: Feed, guard: Guard) -> Blueprint:
    """Return all routes; *guard* knows whose browsers may look."""
    bp = Blueprint("dashboard", __name__)
    _add_page(bp)
    _add_feed(bp, feed, guard)

    @bp.post("/login")
    @bodies(takes=Login, status=204)
    def log_in() -> ResponseReturnValue:
        """Take an operator's token from a browser and give it a cookie for 12 hours."""
        if request.content_length is None or request.content_length > MAX_LOGIN:
            raise TooLarge(f"a token with its length, of at most {MAX_LOGIN} bytes")  # a longer one would hold a thread
        given = decode(Login, request.get_data()).token
        if not guard.keys.tokens:
            return "", 204
        token = guard.keys.find(given)
        if token is None:
            raise Unauthorized("that is not the token")
        if not _is_operator(token):
            raise Forbidden(f"the page is for operators; the token {token.name!r} is for a {token.role}")
        answer = Response(status=204)
        _set(answer, login.issue(_secret(token, guard), time.time()), login.LIFE_S)
        return answer

    @bp.post("/logout")
    @bodies(status=204)
    def log_out() -> ResponseReturnValue:
        """Take the cookie back."""
        answer = Response(status=204)
        _set(answer, "", 0)
        return answer

    return bp


def _add_page(bp: Blueprint) -> None:
    @bp.get("/")
    @bodies(media="text/html")
    def page() -> ResponseReturnValue:
        """Return the dashboard's page; what it shows comes by the feed."""
        return _file("index.html")

    @bp.get("/dashboard/<name>")
    @bodies(media="text/*")
    def file(name: str) -> ResponseReturnValue:
        """Return a file of the page."""
        return _file(name)


def _add_feed(bp: Blueprint, feed: Feed, guard: Guard) -> None:
    @bp.get("/live")
    @bodies(media="text/event-stream", query={"session": {"type": "integer", "minimum": 0}})
    def live() -> ResponseReturnValue:
        """Return server-sent events: nodes and sessions, then their changes; with ?session=<id> that one whole."""
        if request.method == "HEAD":  # its events would never be begun, nor ended
            return Response(mimetype="text/event-stream")
        authorization, cookie = request.headers.get("Authorization"), request.cookies.get(login.COOKIE)

        def welcome() -> bool:
            sender = guard.keys.identify(authorization) or _by_cookie(guard, cookie)
            return sender is not None and Role.OPERATOR in sender.roles

        try:
            events = feed.follow(request.args.get("session", type=int), welcome)
        except TooManyPages as error:
            raise Unavailable(str(error), retry_after=30) from error
        return Response(events, mimetype="text/event-stream", headers={"Cache-Control": "no-store"})


def _file(name: str) -> Response:
    if name not in FILES:
        raise NotFound(f"there is no file {name!r}")
    response = Response(FILES[name], mimetype=KINDS[Path(name).suffix])
    response.headers.update(SAFETY)
    response.add_etag()
    response.make_conditional(request)
    return response


def _set(answer: Response, value: str, life_s: int) -> None:
    answer.set_cookie(
        login.COOKIE, value, max_age=life_s, httponly=True, samesite="Strict", secure=request.is_secure, path="/"
    )


def logged_in(guard: Guard) -> Identity | None:
    """Return who it is whose cookie the current request has, or None."""
    return _by_cookie(guard, request.cookies.get(login.COOKIE))


def _by_cookie(guard: Guard, cookie: str | None) -> Identity | None:
    if cookie is None:
        return None
    now = time.time()
    operators = (token for token in guard.keys.tokens if _is_operator(token))
    return next((t.identity() for t in operators if login.valid(cookie, _secret(t, guard), now)), None)


def _is_operator(token: Token) -> bool:
    return Role.OPERATOR in token.identity().roles


def _secret(token: Token, guard: Guard) -> str:
    return login.key(token.sha256, guard.credential.token)
