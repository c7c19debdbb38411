"""What a handler's process cannot do, tried by a handler type of the tests' own: see secrets, write, eat, kill."""

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from node.processes import landlock
from tests.conftest import COORDINATOR, DATABASE, starting, wait_for_nodes
from tests.daemons import ROOT, Daemon, clean_environ
from tests.e2e.live_session import LiveSession, wait_for
from tests.e2e.live_session import opened as opened_session
from tests.e2e.test_bad_input import PHOTO

HOSTILE = 910
PASSWORD, KEY = "a-password-of-the-file", "a-key-of-the-environment"
NODE = f"""
[node]
node_id = 1
node_port = 0
data_port = 0
handler_type_path = {{folder}}/types
gallery_path = {ROOT}/samples/gallery
handler_memory_mb = 400

[reporter]
enabled = false

[database]
db_passwd = {PASSWORD}
"""
fenced = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")

Open = Callable[..., LiveSession]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with handler types and services, the hostile one among them."""
    tmp_path = tmp_path_factory.mktemp("hostile")
    shutil.copytree(ROOT / "config/handlers", tmp_path / "types")
    kind = {
        "handler_type": HOSTILE, "name": "HostileHandler", "class": "tests.e2e.hostile:HostileHandler",
        "inputs": ["Image"], "outputs": ["Boxes"], "params": {}, "profile": {"ms": 1, "mem_mb": 40},
    }  # fmt: skip
    (tmp_path / "types/hostile.json").write_text(json.dumps(kind))
    shutil.copytree(ROOT / "config/services", tmp_path / "services")
    handlers = [
        {"handler_id": i, "handler_name": name, "handler_type": kind, "params": {}}
        for i, (name, kind) in enumerate((("decode", 6), ("hostile", HOSTILE)))
    ]
    link = {"source_handler": 0, "source_output": 0, "target_handler": 1, "target_input": 0}
    variant = {"variant_name": "only", "handlers": handlers, "links": [link]}
    service = {"service_id": 910, "service_name": "hostile", "description": "", "variants": [variant]}
    (tmp_path / "services/hostile.json").write_text(json.dumps(service))
    return tmp_path


@pytest.fixture(scope="module")
def node(folder: Path) -> Iterator[Daemon]:
    """A node that knows secrets; its second ready line is its coordinator's."""
    starter = starting(folder)
    begin = next(starter)
    text = COORDINATOR + f"handler_type_path = {folder}/types\nservice_type_path = {folder}/services\n" + DATABASE
    coordinator = begin(text.format(folder=folder), name="coordinator")
    environ = {"FACESERVICE_NODE_COORDINATOR_URL": coordinator.url, "SOME_API_KEY": KEY, "PYTHON_PASSWORD": KEY}
    node = begin(NODE.format(folder=folder), environ, "node")
    wait_for_nodes(coordinator.url, {1})
    node.ready += coordinator.ready
    yield node
    next(starter, None)


@pytest.fixture(scope="module")
def other(node: Daemon) -> Iterator[LiveSession]:
    """A session that must not notice."""
    yield from opened_session(node.ready[1].url, "face_detection", variant="haar")


@pytest.fixture
def opened(node: Daemon) -> Iterator[Open]:
    """Return a function that makes sessions of the hostile service."""
    sessions: list[LiveSession] = []

    def begin(**params: Any) -> LiveSession:
        sessions.append(LiveSession.create(node.ready[1].url, "hostile", params={1: params}))
        return sessions[-1]

    yield begin
    for session in sessions:
        session.close()


def post(session: LiveSession) -> dict[str, Any]:
    result: dict[str, Any] = session.post(PHOTO).json()
    return result


@fenced
def test_a_handler_finds_no_secret_of_the_agent(node: Daemon, opened: Open, folder: Path) -> None:
    """Neither in its environment, nor in another process's, nor in the configuration, nor in an open file."""
    books = f"{clean_environ()['TMPDIR']}/faceservice-*/fs1-*/*"
    paths = [str(folder / "*.conf"), f"{Path.home()}/.*", books, str(ROOT / "handlers/base.py")]
    result = post(opened(act="look", paths=paths, secrets=[PASSWORD[::-1], KEY[::-1]]))
    assert result["status"] == "ok", result
    found = json.loads(result["boxes"][0]["label"])
    assert found["secrets"] == []
    assert found["read"] == [str(ROOT / "handlers/base.py")], "what it needs it may read"
    assert not [name for name in found["environ"] if name.startswith("FACESERVICE_") or "PASSW" in name]
    assert {"PATH", "OMP_NUM_THREADS", "TMPDIR"} <= set(found["environ"])
    files = [name for name in found["descriptors"] if name.startswith("/") and not name.startswith(("/dev/", "/proc/"))]
    ours = ("/channel/", "/handlers/progress-", f"/{node.log.name}")
    assert not [name for name in files if not any(part in name for part in ours)]


@fenced
def test_a_handler_writes_only_to_its_own_folder(node: Daemon, opened: Open, folder: Path, other: LiveSession) -> None:
    """The frame fails with what the handler met; the session and others go on."""
    there = (folder / "node.conf").read_bytes()
    forbidden = [folder / "node.conf", folder / "new", ROOT / "handlers/new.py", Path.home() / "new", Path("/new")]
    session = opened(act="write", paths=[*map(str, forbidden), "/dev/null"])
    for _ in range(2):
        result = post(session)
        assert (result["status"], result["ended_by"]) == ("failed", 1)
        assert result["reason"].endswith("refused: " + " ".join(map(str, forbidden)))
        assert post(other)["status"] == "ok"
    assert (folder / "node.conf").read_bytes() == there
    assert not any(path.exists() for path in forbidden[1:])


@fenced
def test_a_handler_kills_nobody(node: Daemon, opened: Open) -> None:
    if landlock.version() < landlock.SIGNALS_SINCE:
        pytest.skip("Landlock of this kernel knows no signals")
    result = post(opened(act="kill"))
    assert result["status"] == "failed" and "not permitted" in result["reason"], result
    assert node.process.poll() is None


def test_a_handler_that_eats_memory_is_stopped_and_named(node: Daemon, opened: Open, other: LiveSession) -> None:
    """Its frame is set aside, everybody else's frames do not notice, and the books balance."""
    greedy = opened(act="eat")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(post, greedy)
        answers = [post(other) for _ in range(20)]
        result = waiting.result(60)
    assert [answer["status"] for answer in answers] == ["ok"] * 20
    why = "more than its limit of 400 MiB"
    assert result["status"] == "failed" and result["reason"].startswith("handler 1 died 2 times"), result
    assert why in result["reason"] and why in node.log.read_text()
    assert post(other)["status"] == "ok"
    books = greedy.settled_books(1)
    assert (books["frames_in"], books["delivered"], books["dropped"]) == (1, 1, {})
    handler = greedy.look()["measured"]["handlers"][1]
    assert (handler["handler_id"], handler["restarts"]) == (1, 2) and why in handler["died"]
    wait_for(lambda: any(why in death["why"] for death in deaths(greedy)), "the event", lambda: deaths(greedy))
    assert [(death["handler_id"], death["node_id"]) for death in deaths(greedy)] == [(1, 1)]  # not one for each


def deaths(session: LiveSession) -> list[dict[str, Any]]:
    """Return what the session's history says of handlers that died."""
    events = session.get(f"{session.coordinator}/sessions/{session.id}/events").json()["events"]
    return [event["detail"] for event in events if event["event"] == "restarted"]
