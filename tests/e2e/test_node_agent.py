"""One real node: its control API, its processes, what it does when they die, and what it obeys."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
import requests

from node.processes.progress import ProgressFile, progress_path
from tests.conftest import StartDaemon
from tests.daemons import ROOT, Daemon

NODE = """
[node solo]
node_id = 5
node_port = 0
data_port = 0
handler_timeout = 2
model_path = {folder}
coordinator_url = {coordinator}

[reporter]
enabled = false
"""
NOBODY = "http://127.0.0.1:9"
CAMERA = {
    "handlers": [
        {"handler_id": 0, "handler_name": "shrink", "handler_type": 4, "params": {"width": 32, "height": 24}},
        {"handler_id": 1, "handler_name": "jpeg", "handler_type": 5, "params": {"quality": 80}},
    ],
    "links": [{"source_handler": 0, "source_output": 0, "target_handler": 1, "target_input": 0}],
}


@pytest.fixture
def node(start_daemon: StartDaemon, tmp_path: Path) -> Daemon:
    return start_daemon(NODE.format(folder=tmp_path, coordinator=NOBODY), name="solo")


def plan(node_url: str, *, epoch: int = 1, local: tuple[int, ...] = (0, 1, 2)) -> dict[str, Any]:
    """decode -> resize -> encode, all on this node."""
    handlers = [
        {"handler_id": 0, "handler_type": 6, "params": {}},
        {"handler_id": 1, "handler_type": 4, "params": {"width": 32, "height": 24}},
        {"handler_id": 2, "handler_type": 5, "params": {}},
    ]
    return {
        "epoch": epoch,
        "accept_from": epoch,
        "graph": {
            "handlers": handlers,
            "links": [{"source_handler": h, "target_handler": h + 1} for h in (0, 1)],
        },
        "local": list(local),
        "routes": {str(h): [{"node_id": 5, "url": node_url}] for h in (0, 1, 2)},
        "entry": {"node_id": 5, "url": node_url, "key": "key", "handler_id": 0},
        "results": [{"handler_id": 2, "output": 0}],
    }


def picture() -> bytes:
    return cv2.imencode(".jpg", np.full((48, 64, 3), 128, np.uint8))[1].tobytes()


def post_frame(node: Daemon, session_id: int) -> requests.Response:
    headers = {"Content-Type": "image/jpeg"}
    return requests.post(f"{node.data_url}/sessions/{session_id}/key", data=picture(), headers=headers, timeout=20)


def put(node: Daemon, session_id: int, body: dict[str, Any]) -> requests.Response:
    return requests.put(f"{node.url}/sessions/{session_id}", json=body, timeout=30)


def command(node: Daemon, session_id: int, name: str) -> int:
    return requests.post(f"{node.url}/sessions/{session_id}/{name}", timeout=10).status_code


def pids(node: Daemon, session_id: int) -> dict[int, int]:
    answer = requests.get(f"{node.url}/sessions/{session_id}", timeout=5).json()
    return {h["handler_id"]: h["pid"] for h in answer["handlers"]}


def wait_for(condition: Callable[[], bool], patience_s: float = 10.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_a_session_from_put_to_delete(node: Daemon) -> None:
    """PUT is idempotent and changes only what differs; wrong states are 409; DELETE leaves no process."""
    assert put(node, 7, plan(node.data_url)).json()["state"] == "initialized"
    assert post_frame(node, 7).status_code == 409, "frames are taken only while it runs"
    assert command(node, 7, "stop") == 409
    assert command(node, 7, "start") == 200
    assert command(node, 7, "start") == 409
    before = pids(node, 7)
    assert put(node, 7, plan(node.data_url)).json()["state"] == "running"
    assert put(node, 7, plan(node.data_url, epoch=3)).json()["epoch"] == 3
    assert pids(node, 7) == before
    result = post_frame(node, 7)
    assert (result.status_code, result.json()["status"], result.json()["epoch"]) == (200, "ok", 3)
    stale = put(node, 7, plan(node.data_url, epoch=2))
    assert (stale.status_code, stale.json()["type"]) == (409, "/problems/stale-epoch")
    assert command(node, 7, "stop") == 200
    assert requests.delete(f"{node.url}/sessions/7", timeout=10).status_code == 204
    assert requests.delete(f"{node.url}/sessions/7", timeout=10).status_code == 204
    assert not [pid for pid in before.values() if psutil.pid_exists(pid)]
    assert requests.get(f"{node.url}/sessions", timeout=5).json() == {"sessions": []}
    assert requests.get(f"{node.url}/sessions/7", timeout=5).status_code == 404


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"epoch": "one"}, "/epoch"),
        ({"local": [9]}, "/local/0"),
        ({"routes": {}}, "/routes/0"),
        ({"results": [{"handler_id": 2}, {"handler_id": 9}]}, "/results/1/handler_id"),
        ({"entry": {"node_id": 5, "url": NOBODY, "key": "k", "handler_id": 9}}, "/entry/handler_id"),
        ({"window": 0}, "/window"),
        ({"surprise": 1}, "/surprise"),
    ],
)
def test_wrong_content_is_422_with_its_place(node: Daemon, change: dict[str, Any], pointer: str) -> None:
    answer = put(node, 7, plan(node.data_url) | change)
    assert (answer.status_code, answer.json()["pointer"]) == (422, pointer)


def test_a_handler_that_cannot_prepare_is_said_with_its_reason(node: Daemon) -> None:
    """The session stays, failed, and a better plan mends it."""
    body = plan(node.data_url)
    body["graph"]["handlers"][1]["params"] = {"width": -4, "height": 24}
    answer = put(node, 7, body)
    assert (answer.status_code, answer.json()["pointer"]) == (422, "/graph/handlers/1/params")
    assert "width" in answer.json()["detail"]
    assert requests.get(f"{node.url}/sessions/7", timeout=5).json()["state"] == "failed"
    assert put(node, 7, plan(node.data_url, epoch=2)).json()["state"] == "initialized"


def test_the_window_may_change_while_frames_come(node: Daemon) -> None:
    """Queues have the depth of the window: handlers start afresh with deeper or shallower ones."""
    for epoch, window in enumerate((2, 16, 4), start=1):
        assert put(node, 7, plan(node.data_url, epoch=epoch) | {"window": window}).status_code == 200
        if epoch == 1:
            command(node, 7, "start")
        result = post_frame(node, 7)
        assert (result.status_code, result.json()["epoch"]) == (200, epoch)


def test_frames_go_on_after_any_process_was_killed(node: Daemon) -> None:
    put(node, 7, plan(node.data_url))
    command(node, 7, "start")
    for handler_id, pid in pids(node, 7).items():
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda h=handler_id, p=pid: pids(node, 7)[h] not in (None, p))  # type: ignore[misc]
        assert post_frame(node, 7).json()["status"] == "ok"
    gateway = int(re.findall(r"gateway started, pid (\d+)", node.log.read_text())[-1])
    os.kill(gateway, signal.SIGKILL)
    wait_for(lambda: _answered(node))
    books = requests.get(f"{node.url}/sessions/7", timeout=5).json()["books"]
    assert books["frames_in"] == books["delivered"] + sum(books["dropped"].values()) + books["in_flight"]


def _answered(node: Daemon) -> bool:
    try:
        return post_frame(node, 7).status_code == 200
    except requests.ConnectionError:
        return False


def test_a_stopping_node_finishes_the_frame_in_flight(node: Daemon) -> None:
    body = plan(node.data_url)
    body["graph"]["handlers"][1] = {"handler_id": 1, "handler_type": 8, "params": {"scale_factor": 1.05}}
    body["graph"]["links"] = body["graph"]["links"][:1]
    body["graph"]["handlers"].pop()
    body |= {"local": [0, 1], "results": [{"handler_id": 1, "output": 0}]}
    put(node, 7, body)
    command(node, 7, "start")
    noise = np.random.default_rng(1).integers(0, 255, (480, 640, 3)).astype(np.uint8)
    data = cv2.imencode(".png", noise)[1].tobytes()
    with ThreadPoolExecutor(1) as pool:
        headers = {"Content-Type": "image/png"}
        answer = pool.submit(requests.post, f"{node.data_url}/sessions/7/key", data=data, headers=headers, timeout=20)
        wait_for(lambda: _begun(node))
        assert not answer.done(), "the frame must still be in work"
        node.process.send_signal(signal.SIGTERM)
        assert answer.result().status_code == 200
    node.stop()


def _begun(node: Daemon) -> bool:
    """Return True when a handler works on a frame: its progress file names one."""
    return ProgressFile(progress_path(_folder_of(node), 7, 1)).read().sequence is not None


def test_the_older_protocol_keeps_its_states(node: Daemon) -> None:
    def ask(**body: object) -> tuple[str, str]:
        answer = requests.post(node.url + "/", data=json.dumps(body), timeout=30)
        assert answer.status_code == 200
        return answer.json()["result"], answer.json().get("reason", "")

    assert ask(action="start", session_id=5)[0] == "Failed"
    assert ask(action="init", session_id=5) == ("Failed", "missing key 'blueprint'")
    assert ask(action="dance", session_id=5)[0] == "Failed"
    assert ask(action="init", session_id=5, blueprint=CAMERA) == ("Succeeded", "")
    assert ask(action="init", session_id=5, blueprint=CAMERA)[0] == "Failed", "in use"
    assert ask(action="stop", session_id=5)[0] == "Failed"
    assert ask(action="start", session_id=5)[0] == "Succeeded"
    assert ask(action="start", session_id=5)[0] == "Failed"
    assert ask(action="delete", session_id=5)[0] == "Failed", "it runs"
    assert ask(action="stop", session_id=5)[0] == "Succeeded"
    assert ask(action="delete", session_id=5)[0] == "Succeeded"
    assert ask(action="delete", session_id=5)[0] == "Failed"


def test_handler_types_tell_why_they_cannot_run(node: Daemon, tmp_path: Path) -> None:
    """The model folder is empty here: what needs a model says so, the others can run."""
    rows = {h["handler_type"]: h for h in requests.get(f"{node.url}/handlers", timeout=60).json()["handlers"]}
    assert rows[6]["available"] is True
    assert rows[13]["available"] is False
    assert f"is not in {tmp_path}" in rows[13]["reason"]
    assert set(rows[6]) == {"handler_type", "name", "class", "available", "reason"}


def test_an_idle_node_is_small(node: Daemon) -> None:
    """At most 150 MB (PSS of all its processes) and 1 % of a core."""
    members = node.members()
    assert sum(p.memory_full_info().pss for p in members) < 150 << 20
    before, began = _cpu_s(members), time.monotonic()
    time.sleep(3)  # the measured time itself
    assert (_cpu_s(members) - before) / (time.monotonic() - began) < 0.01


def _cpu_s(members: list[psutil.Process]) -> float:
    return sum(p.cpu_times().user + p.cpu_times().system for p in members)


def test_a_port_in_use_is_status_3(node: Daemon, tmp_path: Path) -> None:
    config = tmp_path / "second.conf"
    text = NODE.format(folder=tmp_path, coordinator=NOBODY)
    config.write_text(text.replace("data_port = 0", f"data_port = {node.data_url.rpartition(':')[2]}"))
    ended = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), str(config)], capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == 3
    assert "is in use" in ended.stderr
    assert ended.stdout == ""


class Coordinator(ThreadingHTTPServer):
    """Answers heartbeats with `answer`, and keeps them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.answer: dict[str, Any] = {"sessions": []}
        self.heard: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Coordinator

    def do_POST(self) -> None:
        self.server.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        body = json.dumps(self.server.answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def coordinator() -> Iterator[Coordinator]:
    server = Coordinator()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def test_a_node_comes_to_hold_what_the_coordinator_wants(start_daemon: StartDaemon, tmp_path: Path) -> None:
    """Heartbeats tell all that the contract names; the answer starts a session; what it does not name stays 10 s."""
    with coordinator() as boss:
        node = start_daemon(NODE.format(folder=tmp_path, coordinator=f"{NOBODY},{boss.url}"), name="solo")
        wait_for(lambda: len(boss.heard) >= 1)
        first = boss.heard[0]
        assert (first["node_id"], first["control_url"], first["data_url"]) == (5, node.url, node.data_url)
        assert {h["handler_type"] for h in first["handlers"]} >= {0, 4, 5, 6, 13}
        put(node, 8, plan(node.data_url))
        boss.answer = {
            "sessions": [{"session_id": 7, "epoch": 1, "state": "running", "plan": plan(node.data_url)}],
        }
        wait_for(lambda: any(s["state"] == "running" for s in boss.heard[-1]["sessions"] if s["session_id"] == 7))
        assert post_frame(node, 7).status_code == 200
        boss.answer = {"sessions": [{"session_id": 7, "epoch": 1, "state": "stopped"}]}
        wait_for(lambda: {s["session_id"]: s["state"] for s in boss.heard[-1]["sessions"]}.get(7) == "stopped")
        assert 8 in {s["session_id"] for s in boss.heard[-1]["sessions"]}, "unknown, but not for 10 s yet"
        node.stop()
        assert boss.heard[-1]["leaving"] is True


def test_a_killed_agent_takes_its_processes_along_and_its_successor_cleans_up(
    node: Daemon, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    put(node, 7, plan(node.data_url))
    members, name = node.members(), _folder_of(node).name
    node.process.kill()
    gone, alive = psutil.wait_procs([m for m in members if m.pid != node.process.pid], timeout=5)
    assert not alive
    assert list(Path("/dev/shm").glob(f"{name}_*")), "a killed agent cannot clean up"
    node.stopped = True
    start_daemon(NODE.format(folder=tmp_path, coordinator=NOBODY), name="next")
    assert not list(Path("/dev/shm").glob(f"{name}_*"))
    assert gone


def _folder_of(node: Daemon) -> Path:
    """Return the agent's folder: the one whose lock it has open."""
    files = [f.path for f in psutil.Process(node.process.pid).open_files()]
    return next(Path(path).parent for path in files if path.endswith("/lock"))
