"""The coordinator's API against the real daemon; nodes are played by real HTTP servers (played_node.py)."""

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import StartDaemon
from tests.daemons import Daemon, run, start
from tests.e2e.played_node import PlayedNode

CONFIG = """
[coordinator]
coordinator_port = {port}
node_path = {folder}/nodes
heartbeat_timeout = 1
control_period = 0.2

[database]
db_engine = sqlite
db_path = {folder}/faceservice.sqlite
"""


@pytest.fixture
def begin(start_daemon: StartDaemon, tmp_path: Path) -> Callable[..., Daemon]:
    def one(port: int = 0) -> Daemon:
        return start_daemon(CONFIG.format(folder=tmp_path, port=port), name="coordinator")

    return one


@pytest.fixture
def daemon(begin: Callable[..., Daemon]) -> Daemon:
    return begin()


@pytest.fixture
def play(daemon: Daemon) -> Iterator[Callable[..., PlayedNode]]:
    nodes: list[PlayedNode] = []

    def one(node_id: int, **more: Any) -> PlayedNode:
        nodes.append(PlayedNode(daemon.url, node_id, **more).live())
        return nodes[-1]

    yield one
    for node in nodes:
        node.die()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A coordinator with node 1, for tests that change nothing."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "nodes").mkdir()
    (folder / "coordinator.conf").write_text(CONFIG.format(folder=folder, port=0))
    daemon = start(folder / "coordinator.conf", folder)
    try:
        node = PlayedNode(daemon.wait_ready().url, 1).live()
        yield daemon
        node.die()
        daemon.stop()
    finally:
        daemon.kill()


def post(daemon: Daemon, path: str, body: Any = None) -> requests.Response:
    return requests.post(daemon.url + path, json=body, timeout=20)


def get(daemon: Daemon, path: str) -> Any:
    response = requests.get(daemon.url + path, timeout=5)
    assert response.status_code == 200, response.text
    return response.json()


def eventually(check: Callable[[], object], seconds: float = 8.0) -> None:
    """Return as soon as *check* holds."""
    waiter = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if check():
            return
        waiter.wait(0.05)
    assert check()


def problem(response: requests.Response, status: int, kind: str | None = None) -> Any:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert kind is None or body["type"] == f"/problems/{kind}"
    return body


SPLIT = {"service": "face_recognition", "pin": {"0": 1, "1": 1, "2": 2, "3": 2, "4": 2}}


def test_a_session_is_prepared_on_both_nodes_and_started(daemon: Daemon, play: Callable[..., PlayedNode]) -> None:
    edge, server = play(1), play(2)
    response = post(daemon, "/sessions", SPLIT)
    assert response.status_code == 201, response.text
    session = response.json()
    number = session["session_id"]
    assert response.headers["Location"] == f"/sessions/{number}"
    assert (session["state"], session["epoch"], session["variant"]) == ("running", 1, "hog")
    assert session["placement"] == {"0": [1], "1": [1], "2": [2], "3": [2], "4": [2]}
    assert session["session_url"].startswith(f"{edge.data_url}/sessions/{number}/")
    assert session["results_url"] == session["session_url"] + "/results"
    assert session["predicted"]["basis"] == "prior"
    assert session["predicted"]["latency_ms"] > 100
    assert [e["handler_id"] for e in session["explanation"]] == [0, 1, 2, 3, 4]
    assert edge.plans[number]["local"] == [0, 1]
    assert server.plans[number]["local"] == [2, 3, 4]
    assert edge.plans[number]["routes"]["2"] == [{"node_id": 2, "url": server.data_url}]
    assert server.plans[number]["entry"]["node_id"] == 1
    assert session["session_url"].endswith("/" + edge.plans[number]["entry"]["key"])
    assert edge.states[number] == server.states[number] == "running"
    assert edge.calls.index(("PUT", f"/sessions/{number}")) < edge.calls.index(("POST", f"/sessions/{number}/start"))


def test_life_cycle_and_its_forbidden_steps(daemon: Daemon, play: Callable[..., PlayedNode]) -> None:
    node = play(1)
    number = post(daemon, "/sessions", {"service": "face_detection", "start": False}).json()["session_id"]
    problem(post(daemon, f"/sessions/{number}/stop"), 409, "wrong-state")
    assert post(daemon, f"/sessions/{number}/start").json()["state"] == "running"
    problem(post(daemon, f"/sessions/{number}/start"), 409, "wrong-state")
    assert post(daemon, f"/sessions/{number}/stop").json()["state"] == "stopped"
    problem(post(daemon, f"/sessions/{number}/stop"), 409, "wrong-state")
    assert node.states[number] == "stopped"
    moved = problem(post(daemon, f"/sessions/{number}/reallocate", {"algorithm": "random"}), 409, "wrong-state")
    assert f"session {number} is stopped" in moved["detail"]
    for _ in range(2):
        assert requests.delete(f"{daemon.url}/sessions/{number}", timeout=5).status_code == 204
    assert node.plans == {}
    problem(post(daemon, f"/sessions/{number}/start"), 409, "wrong-state")
    assert get(daemon, f"/sessions/{number}")["state"] == "deleted"
    assert get(daemon, "/sessions") == {"sessions": []}
    history = [e["event"] for e in get(daemon, f"/sessions/{number}/events")["events"]]
    assert history == ["created", "placed", "started", "stopped", "deleted"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"service": "face_recognition", "window": "many"}, "/window"),
        ({"service": "face_recognition", "objective": {"min_fps": -1}}, "/objective/min_fps"),
        ({"service": "face_recognition", "speed": 1}, "/speed"),
        ({"service": "face_recognitoin"}, "/service"),
        ({"service": 4711}, "/service"),
        ({"service": "face_recognition", "variant": "cnn"}, "/variant"),
        ({"service": "face_recognition", "algorithm": "magic"}, "/algorithm"),
        ({"service": "face_recognition", "pin": {"99": 1}}, "/pin/99"),
        ({"service": "face_recognition", "pin": {"1": 7}}, "/pin/1"),
        ({"service": "face_recognition", "pin": {"1": []}}, "/pin/1"),
        ({"service": "face_recognition", "params": {"9": {"upsample": 1}}}, "/params/9"),
        ({"service": "face_recognition", "replicas": {"1": 3}, "pin": {"1": [1]}}, "/replicas/1"),
        ({"service": "face_recognition", "entry_node": 7}, "/entry_node"),
        ({"service": "camera_preview", "replicas": {"0": 2}}, "/replicas/0"),
        ({}, ""),
        ([1], ""),
    ],
)
def test_wrong_content_is_pointed_at(shared: Daemon, body: Any, pointer: str) -> None:
    assert problem(post(shared, "/sessions", body), 422)["pointer"] == pointer
    assert get(shared, "/sessions") == {"sessions": []}


def test_malformed_json_and_unknown_ids(shared: Daemon) -> None:
    problem(requests.post(shared.url + "/sessions", data=b'{"service": ', timeout=5), 400)
    problem(requests.post(shared.url + "/sessions", data=b"\xff\xfe", timeout=5), 400)
    for path in ("/sessions/7", "/sessions/7/events", "/nodes/7", "/nothing"):
        problem(requests.get(shared.url + path, timeout=5), 404)
    for path in ("/sessions/7/start", "/sessions/7/stop", "/sessions/7/reallocate", "/nodes/7/cordon"):
        problem(post(shared, path), 404)
    problem(requests.delete(shared.url + "/sessions/7", timeout=5), 404, "unknown-session")
    problem(requests.put(shared.url + "/sessions", timeout=5), 405)
    problem(requests.get(shared.url + "/sessions?limit=all", timeout=5), 400)


def test_without_a_node_that_can_the_answer_has_each_nodes_reason(
    daemon: Daemon, play: Callable[..., PlayedNode]
) -> None:
    problem(post(daemon, "/sessions", {"service": "face_recognition"}), 507, "unplaceable")
    play(1, lacks={13: "model dlib-resnet-v1 is missing"})
    play(2)
    assert post(daemon, "/nodes/2/cordon").json()["state"] == "cordoned"
    reasons = problem(post(daemon, "/sessions", {"service": "face_recognition"}), 507)["reasons"]
    assert "model dlib-resnet-v1 is missing" in reasons["1"]
    assert reasons["2"] == "is cordoned"
    assert post(daemon, "/nodes/2/uncordon").json()["state"] == "up"
    assert post(daemon, "/sessions", {"service": "face_recognition"}).status_code == 201


def test_a_node_that_cannot_prepare_frees_all_and_says_why(daemon: Daemon, play: Callable[..., PlayedNode]) -> None:
    edge, server = play(1), play(2)
    server.refuse = (422, {"detail": "thresh: Expected `float` <= 2", "pointer": "/params/2/thresh"})
    refusal = problem(post(daemon, "/sessions", SPLIT), 422)
    refused = get(daemon, f"/sessions/{refusal['session_id']}")
    assert (refused["state"], refused["reason"]) == ("deleted", refusal["detail"])
    events = get(daemon, f"/sessions/{refusal['session_id']}/events")["events"]
    assert [e["event"] for e in events] == ["created", "failed", "deleted"]
    assert (refusal["pointer"], refusal["detail"]) == ("/params/2/thresh", "thresh: Expected `float` <= 2")
    server.refuse = (503, {"detail": "model file is damaged", "type": "/problems/not-prepared"})
    assert problem(post(daemon, "/sessions", SPLIT), 507)["reasons"] == {"2": "model file is damaged"}
    assert edge.plans == server.plans == {}
    assert get(daemon, "/sessions")["sessions"] == [], "who was refused has no session to delete"


def test_a_node_that_just_died_is_left_out_at_once(daemon: Daemon, play: Callable[..., PlayedNode]) -> None:
    play(1, cpu_util=50)
    idle = play(2)
    idle.die()
    session = post(daemon, "/sessions", {"service": "face_detection"}).json()
    assert {n for nodes in session["placement"].values() for n in nodes} == {1}
    assert "no answer" in session["explanation"][0]["others"]["2"]


def test_dry_run_decides_and_does_nothing(daemon: Daemon, play: Callable[..., PlayedNode]) -> None:
    node = play(1)
    answer = post(daemon, "/sessions?dry_run=1", {"service": "face_recognition", "variant": "haar"})
    assert answer.status_code == 200
    assert answer.json()["placement"]["0"] == [1]
    assert answer.json()["variant"] == "haar"
    assert node.plans == {}
    assert get(daemon, "/sessions") == {"sessions": []}


def test_measures_of_heartbeats_show_on_the_session(daemon: Daemon, play: Callable[..., PlayedNode]) -> None:
    node = play(1)
    number = post(daemon, "/sessions", {"service": "face_detection"}).json()["session_id"]
    node.extra[number] = {
        "books": {"frames_in": 5, "delivered": 3, "dropped": {"late": 1}, "in_flight": 1},
        "latency_ms": {"p50": 12.0},
        "fps": 7.5,
        "handlers": [{"handler_id": 1, "state": "running", "pid": 4, "frames": 4, "service_ms": 33.0}],
    }
    node.beat().raise_for_status()
    measured = get(daemon, f"/sessions/{number}")["measured"]
    assert measured["books"]["dropped"] == {"late": 1}
    assert (measured["latency_ms"], measured["fps"]) == ({"p50": 12.0}, 7.5)
    assert (measured["handlers"][0]["node_id"], measured["handlers"][0]["service_ms"]) == (1, 33.0)


def test_heartbeats_tell_what_to_hold_with_the_plan_only_where_it_differs(
    daemon: Daemon, play: Callable[..., PlayedNode]
) -> None:
    node = play(1)
    number = post(daemon, "/sessions", {"service": "face_detection"}).json()["session_id"]
    same = node.beat().json()["sessions"]
    assert same == [{"session_id": number, "epoch": 1, "state": "running", "plan": None}]
    lost = node.beat(sessions=[]).json()["sessions"]
    assert lost[0]["plan"] == node.plans[number]
    assert problem(node.beat(node_id=5), 422)["pointer"] == "/node_id"


def test_a_dead_nodes_handlers_run_elsewhere_at_a_new_epoch(daemon: Daemon, play: Callable[..., PlayedNode]) -> None:
    edge, server = play(1, cpu_util=80), play(2, cpu_util=1)
    play(3, cpu_util=90)
    asked = {"service": "face_recognition", "pin": {"0": 1, "1": 1}, "entry_node": 1}
    first = post(daemon, "/sessions", asked).json()
    number, victims = first["session_id"], [h for h, nodes in first["placement"].items() if nodes == [2]]
    assert victims, first["placement"]
    server.die()
    eventually(lambda: get(daemon, f"/sessions/{number}")["epoch"] > 1)
    eventually(lambda: get(daemon, f"/sessions/{number}")["state"] == "running")
    session = get(daemon, f"/sessions/{number}")
    assert all(session["placement"][h] != [2] for h in victims)
    assert session["placement"]["0"] == session["placement"]["1"] == [1]
    assert edge.plans[number]["accept_from"] == edge.plans[number]["epoch"] == session["epoch"]
    assert all(r["node_id"] != 2 for h in victims for r in edge.plans[number]["routes"][h])
    events = {e["event"]: e["detail"] for e in get(daemon, f"/sessions/{number}/events")["events"]}
    assert {"degraded", "moved", "recovered"} <= events.keys()
    assert events["moved"]["moves"][0]["from"] == [2]
    assert get(daemon, "/nodes/2")["state"] == "down"


def test_pinned_to_a_dead_node_stays_degraded_with_the_reason_until_it_is_back(
    daemon: Daemon, play: Callable[..., PlayedNode]
) -> None:
    play(1)
    server = play(2)
    number = post(daemon, "/sessions", SPLIT).json()["session_id"]
    server.die()
    eventually(lambda: get(daemon, f"/sessions/{number}")["state"] == "degraded")
    eventually(lambda: "no node can run handler 2" in get(daemon, f"/sessions/{number}")["reason"])
    assert "node 1: handler 2 is pinned to node 2" in get(daemon, f"/sessions/{number}")["reason"]
    play(2)
    eventually(lambda: get(daemon, f"/sessions/{number}")["state"] == "running", seconds=3)
    assert get(daemon, f"/sessions/{number}")["reason"] is None
    assert requests.delete(f"{daemon.url}/sessions/{number}", timeout=10).status_code == 204


def test_what_cannot_run_anywhere_any_more_goes_on_as_another_variant(
    daemon: Daemon, play: Callable[..., PlayedNode]
) -> None:
    """Haar is lost with its node; the caller named no variant, and the other node runs HOG."""
    haar, other = play(1), play(2, cpu_util=80, lacks={8: "no cascade"})
    number = post(daemon, "/sessions", {"service": "face_detection", "entry_node": 2, "pin": {"0": 2}}).json()[
        "session_id"
    ]
    assert get(daemon, f"/sessions/{number}")["variant"] == "haar"
    haar.die()
    eventually(lambda: get(daemon, f"/sessions/{number}")["variant"] == "hog")
    eventually(lambda: get(daemon, f"/sessions/{number}")["state"] == "running")
    plan = other.plans[number]
    assert {h["handler_id"]: h["handler_type"] for h in plan["graph"]["handlers"]}[1] == 9
    assert plan["accept_from"] == plan["epoch"]
    events = {e["event"]: e["detail"] for e in get(daemon, f"/sessions/{number}/events")["events"]}
    assert events["moved"]["variant"] == {"from": "haar", "to": "hog"}


def test_a_variant_that_the_caller_named_is_kept(daemon: Daemon, play: Callable[..., PlayedNode]) -> None:
    haar = play(1)
    play(2, cpu_util=80, lacks={8: "no cascade"})
    number = post(daemon, "/sessions", {"service": "face_detection", "variant": "haar"}).json()["session_id"]
    haar.die()
    eventually(lambda: get(daemon, f"/sessions/{number}")["state"] == "degraded")
    eventually(lambda: "no cascade" in (get(daemon, f"/sessions/{number}")["reason"] or ""))
    assert get(daemon, f"/sessions/{number}")["variant"] == "haar"


def test_a_coordinator_that_stood_still_blames_no_node(daemon: Daemon, play: Callable[..., PlayedNode]) -> None:
    play(1)
    number = post(daemon, "/sessions", {"service": "face_detection"}).json()["session_id"]
    for signum in (signal.SIGSTOP, signal.SIGCONT):
        for process in daemon.members():
            process.send_signal(signum)
        threading.Event().wait(3 if signum == signal.SIGSTOP else 1)  # heartbeat_timeout is 1 s
    assert (get(daemon, "/nodes/1")["state"], get(daemon, f"/sessions/{number}")["epoch"]) == ("up", 1)
    assert "stood still" in daemon.log.read_text()


def test_a_handler_that_its_node_gave_up_runs_elsewhere(daemon: Daemon, play: Callable[..., PlayedNode]) -> None:
    bad = play(1)
    play(2, cpu_util=90)
    number = post(daemon, "/sessions", {"service": "face_detection"}).json()["session_id"]
    failed = {"handler_id": 1, "state": "failed", "reason": "killed 5 times"}
    bad.extra[number] = {"state": "failed", "handlers": [failed]}
    eventually(lambda: get(daemon, f"/sessions/{number}")["placement"]["1"] == [2])
    bad.extra.clear()
    eventually(lambda: get(daemon, f"/sessions/{number}")["state"] == "running")
    assert "killed 5 times" in str(get(daemon, f"/sessions/{number}/events"))


def test_a_drained_node_is_left_and_then_cordoned(daemon: Daemon, play: Callable[..., PlayedNode]) -> None:
    old, new = play(1), play(2, cpu_util=50)
    number = post(daemon, "/sessions", {"service": "face_detection"}).json()["session_id"]
    assert old.plans[number]["local"]
    assert post(daemon, "/nodes/1/drain").json()["state"] == "draining"
    eventually(lambda: number in new.plans and new.plans[number]["epoch"] == 3)
    assert new.plans[number]["accept_from"] == 3
    eventually(lambda: number not in old.plans)
    eventually(lambda: get(daemon, "/nodes/1")["state"] == "cordoned")
    assert new.states[number] == "running"
    assert get(daemon, f"/sessions/{number}")["session_url"].startswith(new.data_url)


ENTRY_AT = {node: {"pin": {str(h): node for h in range(4)}} for node in (1, 2)}


def test_the_final_books_of_an_entry_that_moves_are_the_session_s(
    daemon: Daemon, play: Callable[..., PlayedNode]
) -> None:
    """Not those of its last heartbeat, which are a second old."""
    old, new = play(1), play(2)
    number = post(daemon, "/sessions", {"service": "face_detection"} | ENTRY_AT[1]).json()["session_id"]
    old.extra[number] = {"books": {"frames_in": 7, "delivered": 5, "in_flight": 2, "next_sequence": 7}}
    old.final_books = {"frames_in": 9, "delivered": 9, "next_sequence": 9}
    eventually(lambda: (get(daemon, f"/sessions/{number}")["measured"]["books"] or {}).get("in_flight") == 2)
    assert post(daemon, f"/sessions/{number}/reallocate", ENTRY_AT[2]).json()["entry_node"] == 2
    books = get(daemon, f"/sessions/{number}")["measured"]["books"]
    assert (books["frames_in"], books["delivered"], books["dropped"], books["in_flight"]) == (9, 9, {}, 0)
    assert new.plans[number]["entry"]["first_sequence"] == 9
    calls = [call for call in old.calls if str(number) in call[1]]
    assert calls.index(("POST", f"/sessions/{number}/handover")) < calls.index(("DELETE", f"/sessions/{number}"))
    assert new.states[number] == "running"


def test_an_entry_without_a_last_word_is_left_like_a_lost_one(daemon: Daemon, play: Callable[..., PlayedNode]) -> None:
    old, new = play(1), play(2)
    number = post(daemon, "/sessions", {"service": "face_detection"} | ENTRY_AT[1]).json()["session_id"]
    old.extra[number] = {"books": {"frames_in": 7, "delivered": 5, "in_flight": 2, "next_sequence": 7}}
    old.final_books = {"frames_in": "nonsense"}
    eventually(lambda: (get(daemon, f"/sessions/{number}")["measured"]["books"] or {}).get("in_flight") == 2)
    post(daemon, f"/sessions/{number}/reallocate", ENTRY_AT[2])
    books = get(daemon, f"/sessions/{number}")["measured"]["books"]
    assert (books["frames_in"], books["dropped"], books["in_flight"]) == (7, {"entry_moved": 2}, 0)
    assert new.plans[number]["entry"]["first_sequence"] == 1_000_007


def test_a_node_that_cannot_take_the_entry_changes_nothing(daemon: Daemon, play: Callable[..., PlayedNode]) -> None:
    old, new = play(1), play(2)
    number = post(daemon, "/sessions", {"service": "face_detection"} | ENTRY_AT[1]).json()["session_id"]
    new.refuse = 503, {"title": "no room"}
    problem(post(daemon, f"/sessions/{number}/reallocate", ENTRY_AT[2]), 503)
    session = get(daemon, f"/sessions/{number}")
    assert (session["epoch"], session["entry_node"], session["state"]) == (1, 1, "running")
    assert ("POST", f"/sessions/{number}/handover") not in old.calls


def test_reallocate_moves_only_what_differs_and_keeps_the_old_epoch_welcome(
    daemon: Daemon, play: Callable[..., PlayedNode]
) -> None:
    edge, server = play(1), play(2)
    number = post(daemon, "/sessions", SPLIT).json()["session_id"]
    same = post(daemon, f"/sessions/{number}/reallocate").json()
    assert (same["epoch"], same["placement"]) == (1, {"0": [1], "1": [1], "2": [2], "3": [2], "4": [2]})
    moved = post(daemon, f"/sessions/{number}/reallocate", {"pin": {"1": 2}}).json()
    assert (moved["epoch"], moved["placement"]["1"]) == (3, [2])
    assert (edge.plans[number]["epoch"], edge.plans[number]["accept_from"]) == (3, 1)
    assert server.plans[number]["local"] == [1, 2, 3, 4]
    eventually(lambda: edge.plans[number]["accept_from"] == 3)
    both = post(daemon, f"/sessions/{number}/reallocate", {"pin": {"1": [1, 2]}}).json()
    assert sorted(both["placement"]["1"]) == [1, 2]
    assert problem(post(daemon, f"/sessions/{number}/reallocate", {"pin": {"9": 1}}), 422)["pointer"] == "/pin/9"
    problem(post(daemon, f"/sessions/{number}/reallocate", {"pin": "x"}), 422)


def test_a_restarted_coordinator_knows_its_sessions_and_goes_on(
    begin: Callable[..., Daemon], daemon: Daemon, play: Callable[..., PlayedNode]
) -> None:
    node = play(1)
    before = post(daemon, "/sessions", {"service": "face_detection"}).json()
    post(daemon, "/nodes/1/cordon")
    daemon.process.send_signal(signal.SIGKILL)
    daemon.process.wait(10)
    daemon.kill()
    again = begin(int(daemon.url.rpartition(":")[2]))
    after = get(again, f"/sessions/{before['session_id']}")
    assert {k: after[k] for k in ("session_url", "state", "epoch", "placement")} == {
        k: before[k] for k in ("session_url", "state", "epoch", "placement")
    }
    assert get(again, "/nodes/1")["state"] == "cordoned"
    eventually(lambda: get(again, "/nodes/1")["last_seen"] is not None)
    assert node.beat(sessions=[]).json()["sessions"][0]["plan"]["epoch"] == 1
    assert requests.delete(f"{again.url}/sessions/{before['session_id']}", timeout=5).status_code == 204


def test_a_restarted_node_gets_its_handlers_again_at_a_new_epoch(
    daemon: Daemon, play: Callable[..., PlayedNode]
) -> None:
    node = play(1)
    number = post(daemon, "/sessions", {"service": "face_detection"}).json()["session_id"]
    node.plans.clear()
    node.boot_id = "boot-1-b"
    eventually(lambda: number in node.plans and node.plans[number]["epoch"] == 2)
    eventually(lambda: get(daemon, f"/sessions/{number}")["state"] == "running")


def test_nodes_catalogues_and_the_page(daemon: Daemon, play: Callable[..., PlayedNode]) -> None:
    play(1, lacks={13: "no model"})
    (node,) = get(daemon, "/nodes")["nodes"]
    assert (node["node_id"], node["state"], node["load"]["mem_util"]) == (1, "up", 10.0)
    types = {t["handler_type"]: t for t in get(daemon, "/handlers")["handlers"]}
    assert types[13]["nodes"] == [{"node_id": 1, "available": False, "reason": "no model"}]
    assert {"face_recognition", "face_detection"} <= {s["service_name"] for s in get(daemon, "/services")["services"]}
    assert [a["name"] for a in get(daemon, "/algorithms")["algorithms"] if a["default"]] == ["layered_dp"]
    assert "/dashboard/app.js" in requests.get(daemon.url + "/", timeout=5).text
    with requests.get(daemon.url + "/live", stream=True, timeout=5) as feed:
        lines = (line for line in feed.iter_lines(chunk_size=1) if line.startswith(b"data: "))
        assert b"played-1" in next(lines)


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("[coordinator]\ncoordinator_port = 0\nalgorithm = least_loadde\n", 2, "did you mean 'least_loaded'"),
        ("[coordinator]\ncoordinator_port = 0\nalgorithms = mine = nowhere:Thing\n", 2, "nowhere"),
        ("[coordinator]\ncoordinator_port = 0\nservice_type_path = {folder}/broken\n", 2, "bad.json"),
        ("[coordinator]\ncoordinator_port = 0\nnode_path = {folder}/none\n", 2, "none"),
        ("[coordinator]\n[database]\ndb_engine = mysql\ndb_port = 1\ndb_user = u\ndb_schema = s\n", 3, "database 's'"),
    ],
)
def test_what_is_wrong_at_start_is_named(tmp_path: Path, text: str, status: int, words: str) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "bad.json").write_text("{")
    config = tmp_path / "c.conf"
    if "[database]" not in text:
        text += f"[database]\ndb_engine = sqlite\ndb_path = {tmp_path}/d.sqlite\n"
    config.write_text(text.format(folder=tmp_path))
    ended = run(str(config))
    assert (ended.returncode, ended.stdout) == (status, "")
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_in_use_is_named(daemon: Daemon, tmp_path: Path) -> None:
    config = tmp_path / "second.conf"
    config.write_text(CONFIG.format(folder=tmp_path, port=daemon.url.rpartition(":")[2]))
    ended = run(str(config))
    assert ended.returncode == 3
    assert "in use" in ended.stderr
