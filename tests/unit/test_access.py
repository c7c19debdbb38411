"""Who may make which call: every route of every daemon, with every role and with none."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from collector.app import Worker
from coordinator.app import Coordinator
from coordinator.daemon import read
from node import views as node_views
from node.gateway import views as gateway_views
from tests.daemons import ROOT
from wire.access import ACCESS, OPEN, Role, roles_for
from wire.database import connect, migrate
from wire.guard import Access, Guard
from wire.settings import CollectorSettings, DatabaseSettings, load
from wire.tokens import Keyring, Token, digest, new_token, read_tokens

TOKENS = {role: f"token-of-a-{role}" for role in Role}
GUARD = Guard(
    Access([Token(str(r), digest(t), r, 1 if r is Role.NODE else None) for r, t in TOKENS.items()], TOKENS[Role.NODE])
)


def coordinator(folder: Path) -> Iterator[Flask]:
    (folder / "nodes").mkdir()
    path = folder / "test.conf"
    path.write_text(f"[coordinator]\nnode_path = {folder}/nodes\n[database]\ndb_path = {folder}/test.sqlite\n")
    settings = load(path, {})
    assert settings.coordinator is not None and settings.database is not None
    migrate(connect(settings.database))
    made = Coordinator(settings.coordinator, settings.database, GUARD, *read(settings, settings.coordinator))
    yield made.app


def collector(folder: Path) -> Iterator[Flask]:
    worker = Worker(CollectorSettings(), DatabaseSettings(db_path=folder / "test.sqlite"))
    yield worker.start(GUARD, {})
    worker.stop()


def node(_folder: Path) -> Iterator[Flask]:
    nothing: Any = None
    yield node_views.make_app(nothing, nothing, nothing, GUARD)


DAEMONS = {"coordinator": coordinator, "collector": collector, "node": node}


@pytest.fixture(params=DAEMONS)
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Flask]]:
    """Name and app of each daemon, with views that do nothing."""
    for app in DAEMONS[request.param](tmp_path):
        app.view_functions = dict.fromkeys(app.view_functions, lambda **_: ("", 204))
        yield request.param, app


def routes(app: Flask) -> set[str]:
    """Return "METHOD RULE" of all that can be called."""
    return {
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_the_table_has_each_route_and_nothing_else(daemon: tuple[str, Flask]) -> None:
    name, app = daemon
    assert routes(app) == set(ACCESS[name]), "wire/access.py says for every route who may call it"


def test_every_role_may_do_what_the_table_says_and_no_more(daemon: tuple[str, Flask]) -> None:
    name, app = daemon
    client = app.test_client()
    for call in sorted(routes(app)):
        method, rule = call.split(" ", 1)
        path, roles = re.sub("<[^>]*>", "1", rule), roles_for(name, call)
        for given in (None, "Bearer nobody's", "Basic " + TOKENS[Role.OPERATOR]):
            headers = {} if given is None else {"Authorization": given}
            assert client.open(path, method=method, headers=headers).status_code == (204 if roles is OPEN else 401), (
                call
            )
        for role, token in TOKENS.items():
            answer = client.open(path, method=method, headers={"Authorization": f"Bearer {token}"})
            allowed = roles is OPEN or role in roles
            others = "session_id" in rule and name == "coordinator" and role is Role.CLIENT  # there is no session 1
            assert answer.status_code == ((404 if others else 204) if allowed else 403), (call, role)
            if not allowed:
                said = answer.get_json(force=True)["detail"]
                assert f"the token '{role}' is for {role}" in said and token not in said


def test_the_data_port_names_calls_that_the_table_has() -> None:
    source = Path(gateway_views.__file__).read_text(encoding="utf-8")
    named = {
        n.replace("{base}", "/sessions/<session>/<key>")
        for n in re.findall(r'_(?:authorize|welcome)\(request, f?"(.+?)"', source)
    }
    assert named == set(ACCESS["data port"]) - {"GET /healthz", "GET /readyz"}


def test_docs_show_the_table() -> None:
    docs = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    for name, calls in ACCESS.items():
        for call, roles in calls.items():
            shown = "open" if roles is OPEN else ", ".join(r for r in Role if r in roles)
            assert f"| {name} | `{call.replace('<int:', '<')}` | {shown} |" in docs


def test_a_token_is_known_by_its_hash_alone(tmp_path: Path) -> None:
    token, lines = new_token("camera-7", Role.CLIENT)
    assert token not in lines and len(token) >= 43
    (tmp_path / "tokens").write_text(lines)
    keys = Keyring(read_tokens(tmp_path / "tokens"))
    found = keys.identify(f"Bearer {token}")
    assert found is not None and (found.name, found.owner) == ("camera-7", "camera-7")
    for wrong in (
        None,
        "",
        token,
        f"Bearer {token[:-1]}",
        f"Bearer {digest(token)}",
        f"Basic {token}",
        "Bearer \udcff",
    ):
        assert keys.identify(wrong) is None
    assert keys.identify("Bearer \udcff") is None  # no UTF-8
    assert token not in repr(keys) + repr(Access([], token)) + repr(Guard(Access([], token)).credential)


def test_the_shared_token_may_do_all_and_none_lets_everybody_in() -> None:
    shared = Keyring([Token("", digest("all")), Token("c", digest("one"), Role.CLIENT)]).identify("Bearer all")
    assert shared is not None and shared.roles == set(Role) and shared.owner is None and shared.node_id is None
    everybody = Keyring().identify(None)
    assert everybody is not None and everybody.owner is None
