"""The dashboard's pure parts: rows and their changes, the cookie, whose requests count as foreign."""

import msgspec
import pytest

from coordinator.dashboard import login
from coordinator.dashboard.feed import MAX_PAGES, Feed, TooManyPages
from coordinator.dashboard.rows import Change, NodeRow, Rows, SessionRow, change, kept
from wire import auth
from wire.messages import NodeSession, Objective, Running

TOKEN = "correct horse battery"


def node(node_id: int, cpu: int = 5) -> NodeRow:
    return NodeRow(id=node_id, name=f"n{node_id}", state="up", cpu=cpu)


def session(session_id: int, fps: float = 1.0) -> SessionRow:
    return SessionRow(id=session_id, service="s", variant="v", state="running", epoch=1, nodes=[1], fps=fps)


def test_only_what_differs_is_sent() -> None:
    old = Rows({1: node(1), 2: node(2)}, {7: session(7), 8: session(8)})
    new = Rows({1: node(1), 3: node(3)}, {7: session(7, fps=2.0)})
    found = change(old, new)
    assert found == Change(nodes=[node(3)], sessions=[session(7, fps=2.0)], gone_nodes=[2], gone_sessions=[8])
    assert found
    assert not change(new, new)


def test_a_promise_is_kept_broken_or_not_made() -> None:
    def entry(p95: float, fps: float) -> NodeSession:
        latency = {"p50": 1.0, "p95": p95}
        return NodeSession(session_id=1, epoch=1, state=Running.RUNNING, entry=True, latency_ms=latency, fps=fps)

    assert kept(None, entry(10, 10)) is None
    assert kept(Objective(min_accuracy=0.5), entry(10, 10)) is None
    assert kept(Objective(max_latency_ms=50), entry(49, 10)) is True
    assert kept(Objective(max_latency_ms=50), entry(51, 10)) is False
    assert kept(Objective(max_latency_ms=50, min_fps=20), entry(10, 10)) is False
    assert kept(Objective(min_fps=20), entry(10, 0.0)) is None  # nobody sends


def test_a_page_gets_everything_and_then_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.dashboard.feed.PERIOD_S", 0.01)
    states = iter([Rows({1: node(1)}, {}), Rows({1: node(1, cpu=50)}, {}), Rows({1: node(1, cpu=50)}, {7: session(7)})])
    feed = Feed(lambda: next(states), lambda session_id: {"session_id": session_id})
    events = feed.follow(7)
    assert next(events).startswith(b"retry:")
    assert parsed(next(events)) == ("state", {"nodes": [msgspec.to_builtins(node(1))]})
    assert parsed(next(events)) == ("session", {"session_id": 7})
    assert parsed(next(events)) == ("change", {"nodes": [msgspec.to_builtins(node(1, cpu=50))]})
    assert parsed(next(events)) == ("change", {"sessions": [msgspec.to_builtins(session(7))]})


def parsed(event: bytes) -> tuple[str, object]:
    name, data, *_ = event.decode().split("\n")
    return name.removeprefix("event: "), msgspec.json.decode(data.removeprefix("data: "))


def test_pages_are_bounded_and_a_closed_one_makes_room() -> None:
    feed = Feed(Rows, lambda session_id: None)
    pages = [feed.follow() for _ in range(MAX_PAGES)]
    for page in pages:
        next(page)
    with pytest.raises(TooManyPages):
        feed.follow()
    pages[0].close()  # type: ignore[attr-defined]
    feed.follow()


def test_a_feed_ends_when_the_server_stops() -> None:
    feed = Feed(Rows, lambda session_id: None)
    feed.serving = lambda: False
    assert [e[:6] for e in feed.follow()] == [b"retry:"]


def test_a_feed_ends_when_its_page_is_not_welcome_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.dashboard.feed.PERIOD_S", 0.01)
    answers = iter([True, True, False])
    assert len(list(Feed(Rows, lambda session_id: None).follow(None, lambda: next(answers)))) == 2  # retry, state


def test_a_cookie_stands_for_the_token_until_it_expires() -> None:
    cookie = login.issue(TOKEN, now=1000.0)
    assert TOKEN not in cookie
    assert login.valid(cookie, TOKEN, 1000.0 + login.LIFE_S - 1)
    assert not login.valid(cookie, TOKEN, 1000.0 + login.LIFE_S)
    assert not login.valid(cookie, "another token", 1001.0)


@pytest.mark.parametrize(
    "cookie", [None, "", ".", "9999999999", "9999999999.", "9999999999." + "0" * 64, "x.y", "²." + "0" * 64, "9" * 99]
)
def test_a_made_up_cookie_is_refused(cookie: str | None) -> None:
    assert not login.valid(cookie, TOKEN, 1.0)


def test_a_longer_life_cannot_be_written_into_a_cookie() -> None:
    expiry, _, signature = login.issue(TOKEN, 0.0).partition(".")
    assert not login.valid(f"{int(expiry) + 1}.{signature}", TOKEN, 1.0)


@pytest.mark.parametrize(
    ("method", "headers", "foreign"),
    [
        ("POST", {}, False),  # a program
        ("POST", {"Sec-Fetch-Site": "same-origin"}, False),
        ("POST", {"Sec-Fetch-Site": "cross-site"}, True),
        ("DELETE", {"Sec-Fetch-Site": "same-site"}, True),
        ("POST", {"Origin": "http://box:9002", "Host": "box:9002"}, False),
        ("POST", {"Origin": "http://evil.example", "Host": "box:9002"}, True),
        ("POST", {"Origin": "null", "Host": "box:9002"}, True),
        ("GET", {"Sec-Fetch-Site": "cross-site"}, False),
    ],
)
def test_changes_that_another_site_sends_are_known(method: str, headers: dict[str, str], foreign: bool) -> None:
    assert auth.foreign(method, headers.get) is foreign
