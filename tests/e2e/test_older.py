"""An older coordinator and its nodes: a film goes from one node's tx to another's rx, whatever protocol they name."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import pytest
import requests

from tests.conftest import StartDaemon
from tests.daemons import Daemon
from tests.e2e.live_session import wait_for
from tests.e2e.test_camera import FPS, FRAMES, SIDE, numbered, shown
from tests.integration.mariadb import free_port

NODE = """
[node {name}]
node_id = {node_id}
node_port = 0
data_port = 0
coordinator_url = http://127.0.0.1:9
source_path = {folder}

[reporter]
enabled = false
"""
SESSION = 5
FORM = {"Content-Type": "application/x-www-form-urlencoded"}  # the default of other libraries
Handler = tuple[int, dict[str, Any]]  # handler_type, params
RX, CAPTURE, ENCODE, DECODE = 1, 2, 5, 6  # handler types


class OlderCoordinator:
    """Posts JSON text with the library's default Content-Type, and reads the result alone."""

    def __init__(self, node: Daemon) -> None:
        self._url = node.url + "/"

    def ask(self, action: str, **more: Any) -> tuple[str, str]:
        body = json.dumps({"action": action, "session_id": SESSION} | more)
        answer = requests.post(self._url, data=body, timeout=60)
        assert answer.status_code == 200
        return answer.json()["result"], answer.json().get("reason", "")

    def init(self, *steps: Handler) -> tuple[str, str]:
        """Send *steps* as a chain of handlers 10, 11, ..."""
        handlers = [
            {"handler_id": 10 + n, "handler_name": f"step{n}", "handler_type": t, "params": p}
            for n, (t, p) in enumerate(steps)
        ]
        links = [
            {"source_handler": 10 + n, "source_output": 0, "target_handler": 11 + n, "target_input": 0}
            for n in range(len(steps) - 1)
        ]
        return self.ask("init", blueprint={"handlers": handlers, "links": links})

    def must(self, action: str) -> None:
        assert self.ask(action) == ("Succeeded", "")


class Receiver(ThreadingHTTPServer):
    """Where the last tx posts to: keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        super().__init__(("127.0.0.1", 0), Take)


class Take(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.headers["Content-Type"], body))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def nodes(start_daemon: StartDaemon, tmp_path: Path) -> tuple[Daemon, Daemon]:
    """Two nodes that hear of no coordinator of ours."""
    return (
        start_daemon(NODE.format(name="edge", node_id=1, folder=tmp_path), name="edge"),
        start_daemon(NODE.format(name="server", node_id=2, folder=tmp_path), name="server"),
    )


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.avi"
    picture = numbered(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (picture.shape[1], SIDE))
    for number in range(FRAMES):
        writer.write(numbered(number))
    writer.release()
    return path


def tx(port: int, protocol: str = "tcp") -> Handler:
    return 0, {"addr": "127.0.0.1", "port": port, "protocol": protocol}


def books(node: Daemon) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{node.url}/sessions/{SESSION}", timeout=10).json()["books"] or {}
    return found


def settle(node: Daemon) -> None:
    wait_for(lambda: books(node).get("delivered") == FRAMES, "the books to settle", lambda: books(node))


@pytest.mark.parametrize("pixels", [False, True], ids=["encoded", "pixels"])
def test_a_film_travels_from_node_to_node_in_order(
    nodes: tuple[Daemon, Daemon], film: Path, receiver: Receiver, pixels: bool
) -> None:
    """The tx of one names the port that the rx of the other opens; here udp, there tcp, and HTTP it is.

    Encoded pictures arrive as they are, and pixels as pixels.
    """
    edge, server = map(OlderCoordinator, nodes)
    port, hook = free_port(), receiver.server_address[1]
    capture: Handler = CAPTURE, {"source": str(film), "fps": 0}
    jpeg: list[Handler] = [] if pixels else [(ENCODE, {"quality": 85})]
    undone: list[Handler] = [] if pixels else [(DECODE, {})]
    assert server.init((RX, {"port": port, "protocol": "udp"}), *undone, (ENCODE, {}), tx(hook)) == ("Succeeded", "")
    assert edge.init(capture, *jpeg, tx(port)) == ("Succeeded", "")
    server.must("start")
    edge.must("start")
    wait_for(lambda: len(receiver.got) == FRAMES, f"{FRAMES} frames at the end of both", lambda: len(receiver.got))
    assert {kind for kind, _ in receiver.got} == {"image/jpeg"}
    assert [shown(body) for _, body in receiver.got] == list(range(FRAMES))
    for node in nodes:
        settle(node)
        assert (books(node)["frames_in"], books(node)["dropped"]) == (FRAMES, {})
    for one in (edge, server):
        assert one.ask("delete")[0] == "Failed", "it runs"
        one.must("stop")
        one.must("delete")


def test_frames_sent_before_the_other_part_starts_wait_for_it(
    nodes: tuple[Daemon, Daemon], film: Path, receiver: Receiver
) -> None:
    edge, server = map(OlderCoordinator, nodes)
    port = free_port()
    assert server.init((RX, {"port": port}), tx(receiver.server_address[1]))[0] == "Succeeded"
    assert edge.init((CAPTURE, {"source": str(film), "fps": 0}), (ENCODE, {}), tx(port))[0] == "Succeeded"
    edge.must("start")
    wait_for(lambda: books(nodes[0]).get("frames_in", 0) > 0, "the first frame")
    server.must("start")
    wait_for(lambda: len(receiver.got) == FRAMES, f"{FRAMES} frames", lambda: len(receiver.got))
    assert [shown(body) for _, body in receiver.got] == list(range(FRAMES))


def test_a_blueprint_as_older_coordinators_send_it_runs(nodes: tuple[Daemon, Daemon], film: Path) -> None:
    """Word for word as their documents have it, but for the film."""
    one = OlderCoordinator(nodes[0])
    blueprint = {
        "handlers": [
            {
                "handler_id": 0,
                "handler_name": "capture",
                "handler_type": 2,
                "params": {"source": str(film), "fps": 20, "width": 640, "height": 480},
            },
            {"handler_id": 1, "handler_name": "render", "handler_type": 3, "params": {}},
        ],
        "links": [{"source_handler": 0, "source_output": 0, "target_handler": 1, "target_input": 0}],
    }
    assert one.ask("start")[0] == "Failed", "before init"
    assert one.ask("init", blueprint=blueprint) == ("Succeeded", "")
    assert one.ask("init", blueprint=blueprint)[0] == "Failed", "its id is in use"
    assert one.ask("stop")[0] == "Failed", "it does not run"
    one.must("start")
    assert one.ask("start")[0] == "Failed", "it runs"
    settle(nodes[0])
    assert one.ask("delete")[0] == "Failed", "it runs still: a film that ends does not stop its session here"
    one.must("stop")
    one.must("delete")
    assert one.ask("delete")[0] == "Failed", "unknown"
    assert one.ask("dance")[0] == "Failed"
    for key in ("action", "session_id", "blueprint"):
        body = {"action": "init", "session_id": SESSION, "blueprint": blueprint}
        del body[key]
        answer = requests.post(nodes[0].url + "/", data=json.dumps(body), headers=FORM, timeout=20)
        assert (answer.status_code, answer.json()["result"], key in answer.json()["reason"]) == (200, "Failed", True)


def test_a_port_is_one_session_s_and_comes_back_with_the_gateway(nodes: tuple[Daemon, Daemon], film: Path) -> None:
    """In use: Failed with the reason, and no half-made session. A killed gateway's successor opens it again."""
    server, port = OlderCoordinator(nodes[1]), free_port()
    picture = cv2.imencode(".jpg", numbered(1))[1].tobytes()

    def post(path: str = "/") -> int:
        headers = {"Content-Type": "image/jpeg"}
        try:
            return requests.post(f"http://127.0.0.1:{port}{path}", picture, headers=headers, timeout=20).status_code
        except requests.ConnectionError:
            return 0

    refused = server.init((RX, {"port": port}), (0, {"addr": "10.0.0.9", "port": port}))
    assert refused[0] == "Failed" and "10.0.0.9 from this node: add it to allowed_hosts" in refused[1]
    assert server.init((RX, {"port": port}), (DECODE, {})) == ("Succeeded", "")
    result, reason = server.ask("init", session_id=6, blueprint=_rx(port))
    assert (result, f"port {port}" in reason) == ("Failed", True)
    assert [s["session_id"] for s in requests.get(nodes[1].url + "/sessions", timeout=10).json()["sessions"]] == [5]
    assert post() == 409, "it does not run yet"
    server.must("start")
    assert (post(), post("/sessions/5")) == (200, 404)
    gateway = next(p for p in nodes[1].members() if any(c.laddr.port == port for c in p.net_connections()))
    os.kill(gateway.pid, signal.SIGKILL)
    wait_for(lambda: post() == 200, "the port to come back")
    server.must("stop")
    server.must("delete")
    assert post() == 0, "closed with its session"
    assert server.ask("init", session_id=6, blueprint=_rx(port)) == ("Succeeded", "")


def _rx(port: int) -> dict[str, Any]:
    return {"handlers": [{"handler_id": 0, "handler_type": 1, "params": {"port": port}}], "links": []}
