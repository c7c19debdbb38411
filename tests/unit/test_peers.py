"""Orders to nodes end when the node is down or another one by now, and a node that hangs holds up no other."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from coordinator.peers import LOOK_S, THREADS, Peers
from coordinator.records import SessionRecord, replace
from tests.unit.test_coordinator_decisions import beat, planned, session
from wire.client import ControlClient, PeerAway, PeerError
from wire.messages import Heartbeat


class Nodes(ControlClient):
    """Nodes that answer, except those that hang: URL c<node_id>/..."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = {n: beat(n) for n in (1, 2, 3)}
        self.hang: set[str] = set()
        self.reached: list[str] = []
        self.thaw = threading.Event()

    def put(self, url: str, body: Any = None, timeout: float = 5.0) -> bytes:
        self.reached.append(url)
        if url.split("/")[0] in self.hang:
            self.thaw.wait(60)
        return b"{}"

    def delete(self, url: str, timeout: float = 5.0) -> bytes:
        raise PeerError(url, 500, {})

    def heartbeats(self) -> Mapping[int, Heartbeat]:
        return dict(self.alive)

    def lose(self, node_id: int) -> None:
        del self.alive[node_id]

    def restart(self, node_id: int) -> None:
        self.alive[node_id] = beat(node_id, "b")


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    found = Nodes()
    yield found
    found.thaw.set()


@pytest.fixture
def peers(nodes: Nodes) -> Iterator[Peers]:
    found = Peers(nodes, nodes.heartbeats)
    yield found
    found.close()


def on(*node_ids: int, session_id: int = 5) -> SessionRecord:
    plan = planned({1: [node_ids[0]], 2: list(node_ids)}, entry_node=node_ids[0])
    return session(session_id=session_id, plan=plan)


def begin(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("happens", "why"), [(Nodes.lose, "the node is down"), (Nodes.restart, "the node was restarted")]
)
def test_a_put_to_a_node_that_is_lost_meanwhile_ends(
    nodes: Nodes, peers: Peers, happens: Callable[[Nodes, int], None], why: str
) -> None:
    nodes.hang = {"c2"}
    threading.Timer(0.2, happens, (nodes, 2)).start()
    begun = time.monotonic()
    failures = peers.prepare(on(1, 2, 3))
    assert time.monotonic() - begun < 0.2 + 2 * LOOK_S
    assert list(failures) == [2]
    assert isinstance(failures[2], PeerAway)
    assert why in str(failures[2])


def test_a_slow_node_that_lives_is_waited_for(nodes: Nodes, peers: Peers) -> None:
    nodes.hang = {"c2"}
    threading.Timer(3 * LOOK_S, nodes.thaw.set).start()
    assert peers.prepare(on(1, 2)) == {}


def test_a_node_that_refuses_is_named(peers: Peers) -> None:
    failures = peers.free(5, on(1, 2).plan.nodes)
    assert {n: type(f) for n, f in failures.items()} == {1: PeerError, 2: PeerError}


def test_a_node_that_hangs_holds_up_no_other_nor_itself_when_it_is_back(nodes: Nodes, peers: Peers) -> None:
    nodes.hang = {"c2"}
    waiting = [begin(lambda i=i: peers.prepare(on(2, session_id=i))) for i in range(THREADS + 8)]  # type: ignore[misc]
    begun = time.monotonic()
    assert peers.prepare(on(1, 3)) == {}
    assert time.monotonic() - begun < LOOK_S
    nodes.lose(2)
    for thread in waiting:
        thread.join(4 * LOOK_S)
        assert not thread.is_alive()
    nodes.hang, nodes.reached = set(), []
    nodes.restart(2)
    back = on(2, session_id=99)
    back = replace(back, plan=replace(back.plan, nodes={2: replace(back.plan.nodes[2], boot_id="b")}))
    begun = time.monotonic()
    assert peers.prepare(back) == {}
    assert time.monotonic() - begun < LOOK_S
    assert nodes.reached == ["c2/sessions/99"], "what waited for a thread was called off"
