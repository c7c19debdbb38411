"""Talking to node agents (design 4.2): to all nodes of a session at once.

caller ▶ a pool of threads per node ▶ the node. Whoever waits looks each LOOK_S whether the node still lives, and gives
its call up when it does not. The thread may hang in it until its time is over; so the node's pool is left behind, and
ends with its calls: neither other nodes nor the same one when it is back wait for its threads.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import NamedTuple

import msgspec

from coordinator.planner import node_plans
from coordinator.records import NodeAddress, SessionRecord
from wire.client import ControlClient, PeerAway, PeerError, read
from wire.messages import Books, Heartbeat, NodeSession

PREPARE_S = 120.0  # models are loaded and warmed up, first gallery vectors computed
HAND_OVER_S = 25.0  # frames in flight have their time to end
ORDER_S = 5.0  # start, stop, delete
LOOK_S = 0.5
THREADS = 32  # per node at most
CONFLICT = 409

logger = logging.getLogger(__name__)
Failure = PeerAway | PeerError


class _Attempt(NamedTuple):
    """A call under way, and whose threads make it."""

    future: Future[Failure | None]
    pool: ThreadPoolExecutor


class Peers:
    """Thread-safe. Every method answers with the failures per node instead of raising."""

    def __init__(self, client: ControlClient, alive: Callable[[], Mapping[int, Heartbeat]]) -> None:
        """alive: returns the latest heartbeat of each node that is not down."""
        self._client, self._alive = client, alive
        self._pools: dict[int, ThreadPoolExecutor] = {}
        self._lock = threading.Lock()  # of _pools; nothing is submitted to one that is left behind

    def prepare(self, session: SessionRecord, nodes: Iterable[int] | None = None) -> dict[int, Failure]:
        """Bring *nodes* (None: all) of *session* to their plans; returns when all have prepared or failed."""
        only = session.plan.used() if nodes is None else set(nodes)
        plans = {n: plan for n, plan in node_plans(session).items() if n in only}

        def put(node_id: int, url: str) -> None:
            self._client.put(url, plans[node_id], timeout=PREPARE_S)

        return self._each(session.session_id, {n: session.plan.nodes[n] for n in plans}, "", put)

    def start(self, session: SessionRecord) -> dict[int, Failure]:
        """Start everywhere, the entry's node last: nothing is sent to a handler that does not take it yet."""
        nodes = session.plan.nodes
        entry = session.plan.entry_node
        failed = self._order(session.session_id, {n: a for n, a in nodes.items() if n != entry}, "/start")
        return failed | self._order(session.session_id, {entry: nodes[entry]}, "/start")

    def hand_over(self, session: SessionRecord) -> Books | None:
        """Have the entry finish what is in flight; returns its final books, or None when it gives none."""
        url = f"{session.plan.nodes[session.plan.entry_node].control_url.rstrip('/')}/sessions/{session.session_id}"
        try:
            answer = self._client.post(f"{url}/handover", timeout=HAND_OVER_S)
            return read(answer, NodeSession).books
        except (PeerAway, PeerError, msgspec.DecodeError) as failure:
            logger.warning("session %d: its entry is not handed over: %s", session.session_id, failure)
            return None

    def stop(self, session: SessionRecord) -> dict[int, Failure]:
        """Stop everywhere."""
        return self._order(session.session_id, session.plan.nodes, "/stop")

    def free(self, session_id: int, nodes: Mapping[int, NodeAddress]) -> dict[int, Failure]:
        """End the session on *nodes*; one that is away ends it by its next heartbeat's answer."""
        return self._each(session_id, nodes, "", lambda _, url: self._client.delete(url, timeout=ORDER_S))

    def close(self) -> None:
        """Wait for no one."""
        with self._lock:
            for pool in self._pools.values():
                pool.shutdown(wait=False, cancel_futures=True)

    def _order(self, session_id: int, nodes: Mapping[int, NodeAddress], order: str) -> dict[int, Failure]:
        return self._each(session_id, nodes, order, lambda _, url: _post(self._client, url))

    def _each(
        self, session_id: int, nodes: Mapping[int, NodeAddress], path: str, call: Callable[[int, str], object]
    ) -> dict[int, Failure]:
        urls = {n: f"{a.control_url.rstrip('/')}/sessions/{session_id}{path}" for n, a in nodes.items()}
        running = {n: self._submit(n, partial(_attempt, call, n, url)) for n, url in urls.items()}
        failures: dict[int, Failure | None] = {}
        while len(failures) < len(running):
            open_ = {n: attempt for n, attempt in running.items() if n not in failures}
            wait([attempt.future for attempt in open_.values()], LOOK_S)
            failures |= {n: attempt.future.result() for n, attempt in open_.items() if attempt.future.done()}
            for n, why in self._lost({n: nodes[n] for n in open_.keys() - failures.keys()}).items():
                failures[n] = self._give_up(n, running[n], f"{urls[n]}: {why}")
        return {n: failure for n, failure in failures.items() if failure is not None}

    def _submit(self, node_id: int, call: Callable[[], Failure | None]) -> _Attempt:
        with self._lock:
            pool = self._pools.get(node_id)
            if pool is None:
                pool = self._pools[node_id] = ThreadPoolExecutor(THREADS, thread_name_prefix=f"peer {node_id}")
            return _Attempt(pool.submit(call), pool)

    def _lost(self, nodes: Mapping[int, NodeAddress]) -> dict[int, str]:
        """Return those of *nodes* that are not what they were when their plan was made, with the reason."""
        alive = self._alive() if nodes else {}
        down = {n: "the node is down" for n in nodes if n not in alive}
        return down | {
            n: "the node was restarted" for n in nodes.keys() & alive if alive[n].boot_id != nodes[n].boot_id
        }

    def _give_up(self, node_id: int, attempt: _Attempt, why: str) -> PeerAway:
        """Wait no longer; the next call to the node gets another pool."""
        attempt.future.cancel()
        with self._lock:
            if self._pools.get(node_id) is attempt.pool:
                del self._pools[node_id]
                attempt.pool.shutdown(wait=False)
        logger.warning("node %d: %s", node_id, why)
        return PeerAway(why)


def _attempt(call: Callable[[int, str], object], node_id: int, url: str) -> Failure | None:
    try:
        call(node_id, url)
    except (PeerAway, PeerError) as failure:
        logger.warning("node %d: %s", node_id, failure)
        return failure
    return None


def _post(client: ControlClient, url: str) -> None:
    """Order; a node that is in that state already (409) has followed."""
    try:
        client.post(url, timeout=ORDER_S)
    except PeerError as error:
        if error.status != CONFLICT:
            raise


def away(failures: Mapping[int, Failure]) -> list[int]:
    """Return the nodes that gave no answer."""
    return sorted(n for n, f in failures.items() if isinstance(f, PeerAway))


def reasons(failures: Mapping[int, Failure]) -> dict[int, str]:
    """Return node_id -> why, for people."""
    return {n: _reason(failures[n]) for n in sorted(failures)}


def _reason(failure: Failure) -> str:
    if isinstance(failure, PeerAway):
        return f"no answer: {failure}"
    return str(failure.problem.get("detail") or failure.problem.get("title") or f"status {failure.status}")


def refusals(failures: Mapping[int, Failure], status: int) -> Iterable[tuple[int, PeerError]]:
    """Yield the nodes that answered with *status*."""
    return ((n, f) for n, f in sorted(failures.items()) if isinstance(f, PeerError) and f.status == status)
