"""Who is looked at, and what a look says: a refused connection is proof of death, an answer is a sign of life."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from flask import Flask

from coordinator.probes import LATE_S, Finding, Probes, examine
from coordinator.registry import VOUCHED_S, NodeState, Registry
from wire.client import ControlClient
from wire.messages import Hardware, Heartbeat, Load


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


def url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def beat(node_id: int, control_url: str, unreachable: list[int] | None = None) -> Heartbeat:
    return Heartbeat(
        node_id=node_id,
        node_name=f"n{node_id}",
        boot_id="a",
        control_url=control_url,
        data_url="http://127.0.0.1:1",
        hardware=Hardware(cpus=1, mem_total=1000),
        load=Load(cpu_util=0, mem_util=0),
        timestamp=0.0,
        unreachable=unreachable or [],
    )


def registry(control_url: str, heard: float) -> Registry:
    found = Registry([], timeout=3.0, auto_register=True)
    found.heard(beat(1, control_url), heard, 0.0)
    return found


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def agent() -> Iterator[str]:
    """The URL of something that answers GET /healthz."""
    app = Flask("agent")
    app.add_url_rule("/healthz", view_func=lambda: {"status": "alive"})
    server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def look(watch: Probes) -> None:
    assert not wait(watch.look(), timeout=30).not_done


def test_a_listener_is_silent_a_closed_port_refuses_and_an_agent_answers(listener: socket.socket, agent: str) -> None:
    where, client = url(listener), ControlClient()
    assert examine(where, client) is Finding.SILENT
    listener.close()
    assert examine(where, client) is Finding.REFUSES
    assert examine(agent, client) is Finding.ANSWERS
    assert examine(f"{agent}/elsewhere", client) is Finding.SILENT, "something else has that port now"


def test_a_node_is_doubtful_when_it_is_late_or_when_another_could_not_reach_it(listener: socket.socket) -> None:
    nodes = registry(url(listener), heard=10.0)
    assert nodes.doubtful(10.0 + LATE_S, LATE_S) == []
    assert [n for n, _, _ in nodes.doubtful(10.1 + LATE_S, LATE_S)] == [1]
    nodes.heard(beat(2, url(listener), unreachable=[1, 3]), 10.0, 0.0)
    assert nodes.doubts.is_set()
    assert [n for n, _, _ in nodes.doubtful(10.0, LATE_S)] == [1]  # 3 was never heard
    assert nodes.doubtful(10.0, LATE_S) == []


def test_a_node_that_refuses_is_down_at_once_and_the_controller_is_woken(listener: socket.socket) -> None:
    where, woken = url(listener), list[bool]()
    nodes = registry(where, heard=0.0)
    watch = Probes(nodes, ControlClient(), lambda: woken.append(True))
    nodes.doubt([1])
    look(watch)
    assert (nodes.state(1), woken) == (NodeState.UP, [])
    listener.close()
    nodes.doubt([1])
    look(watch)
    look(watch)
    assert (nodes.state(1), woken) == (NodeState.DOWN, [True])


def test_a_node_that_nobody_heard_but_that_answers_is_not_called_down(agent: str, listener: socket.socket) -> None:
    """Its coordinator died, and it is on its way to this one; a frozen one takes connections too, but says nothing."""
    since = time.monotonic() - 2.9
    nodes = registry(agent, heard=since)
    nodes.heard(beat(2, url(listener)), since, 0.0)
    look(Probes(nodes, ControlClient(), lambda: None))
    assert nodes.judge(time.monotonic() + 0.5) == [2]


def test_answers_stand_for_heartbeats_for_a_while_only() -> None:
    nodes = registry("http://127.0.0.1:1", heard=100.0)
    for second in range(101, 130):
        nodes.answered(1, float(second))
        if nodes.judge(float(second)):
            break
    assert second == int(100 + VOUCHED_S + 3.0) + 1


def test_a_node_that_answers_is_not_looked_at_again_at_once() -> None:
    nodes = registry("http://127.0.0.1:1", heard=100.0)
    nodes.answered(1, 102.0)
    assert nodes.doubtful(102.0 + LATE_S, LATE_S) == []
    assert len(nodes.doubtful(102.1 + LATE_S, LATE_S)) == 1


def test_a_node_is_looked_at_by_one_at_a_time(listener: socket.socket) -> None:
    nodes = registry(url(listener), heard=0.0)
    watch = Probes(nodes, ControlClient(), lambda: None)
    first = watch.look()
    assert (len(first), watch.look()) == (1, [])
    wait(first)
    assert len(watch.look()) == 1


def test_a_heartbeat_that_comes_while_one_looks_keeps_the_node_up(listener: socket.socket) -> None:
    nodes = registry(url(listener), heard=1.0)
    nodes.heard(beat(1, url(listener)), 2.0, 0.0)
    assert not nodes.call_down(1, heard=1.0)
    assert nodes.state(1) is NodeState.UP
