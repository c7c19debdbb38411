"""What the control APIs of all daemons share: problems, tokens and roles, health, metrics, bodies in and out."""

import logging
import ssl
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from flask import Flask, Response, g, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from wire import access, auth, metrics, openapi
from wire.access import Identity
from wire.guard import Guard
from wire.pointers import json_pointer
from wire.problems import (
    MEDIA_TYPE,
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    Problem,
    RequestTimeout,
    TooLarge,
    Unauthorized,
    Unavailable,
    Unplaceable,
    Unprocessable,
    UnsupportedMedia,
    document,
)
from wire.version import version

__all__ = [
    "BadRequest",
    "Conflict",
    "Forbidden",
    "NotFound",
    "Problem",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "Unplaceable",
    "Unprocessable",
    "UnsupportedMedia",
    "create_app",
    "decode",
    "encode",
    "identity",
    "speaks_for",
]

logger = logging.getLogger(__name__)
T = TypeVar("T")
Ready = Callable[[], tuple[bool, dict[str, Any]]]


def decode(kind: type[T], data: bytes) -> T:
    """Return the JSON *data* as *kind*. Raises BadRequest when it is no JSON, Unprocessable when it does not fit."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        detail, _, path = str(error).partition(" - at ")
        raise Unprocessable(detail, pointer=json_pointer(path.strip("`"), detail)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is no valid JSON: {error}") from error


def encode(body: Any) -> Response:
    """Return the answer 200 with *body* as JSON."""
    return Response(msgspec.json.encode(body), mimetype="application/json")


def identity() -> Identity:
    """Return who has sent the current request."""
    found: Identity = g.identity
    return found


def speaks_for(node_id: int) -> None:
    """Return when the current request's sender may speak for node *node_id*. Raises Forbidden."""
    reason = access.wrong_node(identity(), node_id)
    if reason is not None:
        raise Forbidden(reason)


def create_app(
    name: str,
    *,
    guard: Guard,
    ready: Ready,
    max_body_bytes: int = 1 << 20,
    logged_in: Callable[[], Identity | None] = lambda: None,
) -> Flask:
    """Return a Flask app with problem+json for every error, tokens, health, metrics and its own description.

    name: of the daemon in wire.access, which says who may make which call. ready: (can do its job, details); the
    details are shown only with a token. logged_in: who sends the current request, by its browser's cookie.
    """
    app = Flask(name, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = max_body_bytes

    def check_token() -> None:
        g.started = time.perf_counter()
        if auth.foreign(request.method, request.headers.get):
            raise Forbidden("a page of another site sent this: changes are taken from this daemon's own page only")
        g.identity = guard.keys.identify(request.headers.get("Authorization")) or logged_in()
        _check_role(name, g.identity)
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise UnsupportedMedia("bodies are taken as they are: no Content-Encoding")

    app.before_request(check_token)
    app.after_request(_measure)
    _add_errors(app)
    _add_endpoints(app, guard, ready)
    return app


def _check_role(name: str, sender: Identity | None) -> None:
    """Return when *sender* may make the current request. Raises Unauthorized, Forbidden."""
    rule = request.url_rule  # None: there is no such route, which is not for strangers to find out
    method = "GET" if request.method == "HEAD" else request.method
    roles = access.EVERYBODY if rule is None or method == "OPTIONS" else access.roles_for(name, f"{method} {rule.rule}")
    if roles is access.OPEN:
        return
    if sender is None:
        raise Unauthorized("send `Authorization: Bearer TOKEN`")
    reason = access.refusal(sender, roles)
    if reason is not None:
        raise Forbidden(reason)


def _add_endpoints(app: Flask, guard: Guard, ready: Ready) -> None:
    @app.get("/healthz")
    def healthz() -> ResponseReturnValue:
        """Tell that the process is alive."""
        return encode({"status": "alive"})

    @app.get("/readyz")
    def readyz() -> ResponseReturnValue:
        """Tell whether the daemon can do its job: 200 or 503, details only with a token."""
        able, details = ready()
        shown: dict[str, Any] = (
            {"details": {"version": version(), **details}}
            if guard.keys.identify(request.headers.get("Authorization"))
            else {}
        )
        if not able:
            raise Unavailable("not ready", **shown)
        return encode({"status": "ready"} | shown)

    @app.get("/metrics")
    @openapi.bodies(media="text/plain")
    def show_metrics() -> ResponseReturnValue:
        """Return the daemon's metrics in Prometheus' text format."""
        return Response(metrics.text(), content_type=metrics.CONTENT_TYPE)

    @app.get("/openapi.json")
    def show_openapi() -> ResponseReturnValue:
        """Return the description of this API (OpenAPI 3.1)."""
        return encode(openapi.describe(app))


def _measure(response: Response) -> Response:
    rule = request.url_rule.rule if request.url_rule else "unknown"
    now = time.perf_counter()
    metrics.observe(request.method, rule, response.status_code, now - g.get("started", now))
    return response


def _answer(body: dict[str, Any], headers: dict[str, str]) -> Response:
    answer = Response(msgspec.json.encode(body), status=body["status"], mimetype=MEDIA_TYPE)
    answer.headers.update(headers)
    return answer


def _add_errors(app: Flask) -> None:
    @app.errorhandler(Problem)
    def problem(error: Problem) -> Response:
        return _answer(error.body(request.path), error.headers)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> ResponseReturnValue:
        if error.code is None or error.code < 400:
            return error.get_response(request.environ)  # a redirect
        if isinstance(error, RequestEntityTooLarge):
            limit = f"at most {app.config['MAX_CONTENT_LENGTH']} bytes"
            return _answer(TooLarge(limit).body(request.path), {"Connection": "close"})
        slug = error.name.lower().replace(" ", "-")
        body = document(error.code, slug, error.name, error.description or "", request.path)
        kept = {k: v for k, v in error.get_headers() if k.lower() not in ("content-type", "content-length")}
        return _answer(body, kept)

    @app.errorhandler(BlockingIOError)
    @app.errorhandler(ssl.SSLWantReadError)
    def silent(_: OSError) -> Response:
        """A body stopped on its way (wire.accept_filter.BODY_S)."""
        return _answer(RequestTimeout("the body did not come").body(request.path), {"Connection": "close"})

    @app.errorhandler(Exception)
    def crash(error: Exception) -> Response:
        logger.exception("%s %s failed", request.method, request.path, exc_info=error)
        return _answer(Problem("see the daemon's log").body(request.path), {})
