"""What all control APIs share: problems, token, pointers, description."""

from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from flask.typing import ResponseReturnValue

from wire.guard import Access, Guard
from wire.messages import SessionRequest
from wire.openapi import bodies
from wire.tokens import Token, digest
from wire.version import version
from wire.web import Conflict, Unavailable, create_app, decode, encode


def make(token: str | None = None, able: bool = True) -> FlaskClient:
    guard = Guard(Access([] if token is None else [Token("", digest(token))]))
    app = create_app("test", guard=guard, ready=lambda: (able, {"database": "there"}), max_body_bytes=1000)
    add_views(app)
    return app.test_client()


def add_views(app: Flask) -> None:
    @app.get("/crash")
    def crash() -> ResponseReturnValue:
        raise RuntimeError("secret detail")

    @app.post("/things/<int:thing_id>")
    @bodies(takes=SessionRequest, gives=SessionRequest, status=201)
    def take(thing_id: int) -> ResponseReturnValue:
        """Take a thing."""
        return encode(decode(SessionRequest, request.get_data())), 201

    @app.get("/full")
    def full() -> ResponseReturnValue:
        raise Unavailable("come later", retry_after=7)

    @app.get("/conflict")
    def conflict() -> ResponseReturnValue:
        raise Conflict("stop while stopped", state="stopped")


def problem(client: FlaskClient, method: str, path: str, **options: Any) -> dict[str, Any]:
    response = client.open(path, method=method, **options)
    assert response.content_type == "application/problem+json"
    body: dict[str, Any] = response.get_json(force=True)
    assert body["status"] == response.status_code
    assert set(body) >= {"type", "title", "status", "detail", "instance"}
    return body


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ('{"service": 1', 400, None),
        ("", 400, None),
        ("\xff", 400, None),
        ('{"service": 1, "params": {"1": {"a":' + "[" * 900, 400, None),
        ("[]", 422, ""),
        ("{}", 422, ""),
        ('{"service": []}', 422, "/service"),
        ('{"service": 1, "new": 1}', 422, "/new"),
        ('{"service": 1, "objective": {"min_fps": -1}}', 422, "/objective/min_fps"),
        ('{"service": 1, "labels": ["a", 2]}', 422, "/labels/1"),
        ('{"service": 1, "pin": {"x": 1}}', 422, "/pin"),
        ('{"service": 1, "window": 1e99}', 422, "/window"),
    ],
)
def test_a_wrong_body_is_400_or_422_with_a_pointer(body: str, status: int, pointer: str | None) -> None:
    """400: no JSON. 422: JSON, and the pointer says where it is wrong."""
    found = problem(make(), "POST", "/things/1", data=body.encode("latin-1"))
    assert (found["status"], found.get("pointer")) == (status, pointer)


def test_errors_of_the_framework_are_problems_too() -> None:
    client = make()
    assert problem(client, "GET", "/nothing")["type"] == "/problems/not-found"
    assert problem(client, "POST", "/things/1", data=b" " * 1001)["type"] == "/problems/too-large"
    response = client.delete("/things/1")
    assert response.status_code == 405 and "POST" in response.headers["Allow"]


def test_a_crash_is_a_500_that_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    found = problem(make(), "GET", "/crash")
    assert found["status"] == 500 and "secret detail" not in str(found)
    assert "secret detail" in caplog.text


def test_a_problem_carries_headers_and_members() -> None:
    client = make()
    assert client.get("/full").headers["Retry-After"] == "7"
    assert problem(client, "GET", "/conflict")["state"] == "stopped"


def test_with_a_token_all_but_health_wants_it() -> None:
    client = make(token="geheim")
    for path in ("/full", "/metrics", "/openapi.json", "/nothing"):
        assert problem(client, "GET", path)["status"] == 401
    assert client.get("/full").headers["WWW-Authenticate"] == "Bearer"
    for wrong in ("Bearer falsch", "Basic geheim", "geheim", "Bearer", "Bearer gehe\xedm"):
        assert client.get("/metrics", headers={"Authorization": wrong}).status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer geheim"}).status_code == 200
    assert client.get("/healthz").status_code == 200


def test_readiness_shows_details_only_with_the_token() -> None:
    client = make(token="geheim")
    assert client.get("/readyz").get_json() == {"status": "ready"}
    authorized = client.get("/readyz", headers={"Authorization": "Bearer geheim"})
    assert authorized.get_json()["details"] == {"version": version(), "database": "there"}
    assert problem(make(able=False), "GET", "/readyz")["status"] == 503


def test_requests_are_counted_by_route_not_by_path() -> None:
    client = make()
    client.post("/things/41", data=b"{}")
    text = client.get("/metrics").get_data(as_text=True)
    assert 'rule="/things/<int:thing_id>",status="422"' in text and "/things/41" not in text


def test_the_description_names_routes_parameters_and_bodies() -> None:
    document = make().get("/openapi.json").get_json()
    operation = document["paths"]["/things/{thing_id}"]["post"]
    assert operation["summary"] == "Take a thing."
    assert [parameter["name"] for parameter in operation["parameters"]] == ["thing_id"]
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert reference.rpartition("/")[2] in document["components"]["schemas"]
    assert "201" in operation["responses"]


def test_a_packed_body_is_refused() -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    assert make().post("/things/7", data=b"x", headers=headers).status_code == 415
