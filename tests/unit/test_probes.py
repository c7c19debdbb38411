"""Who is looked at, and what a look says: a refused connection is proof of death, a taken one and silence are not."""

import socket
from collections.abc import Iterator

import pytest

from coordinator.probes import LATE_S, Probes, refuses
from coordinator.registry import NodeState, Registry
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


def test_a_listener_does_not_refuse_and_a_closed_port_does(listener: socket.socket) -> None:
    where = url(listener)
    assert not refuses(where)
    listener.close()
    assert refuses(where)


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
    watch = Probes(nodes, lambda: woken.append(True))
    nodes.doubt([1])
    watch.look()
    assert (nodes.state(1), woken) == (NodeState.UP, [])
    listener.close()
    nodes.doubt([1])
    watch.look()
    watch.look()
    assert (nodes.state(1), woken) == (NodeState.DOWN, [True])


def test_a_heartbeat_that_comes_while_one_looks_keeps_the_node_up(listener: socket.socket) -> None:
    nodes = registry(url(listener), heard=1.0)
    nodes.heard(beat(1, url(listener)), 2.0, 0.0)
    assert not nodes.call_down(1, heard=1.0)
    assert nodes.state(1) is NodeState.UP
