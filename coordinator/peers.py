"""Talking to node agents (design 4.2): to all nodes of a session at once."""

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import msgspec

from coordinator.planner import node_plans
from coordinator.records import NodeAddress, SessionRecord
from wire.client import ControlClient, PeerAway, PeerError, read
from wire.messages import Books, NodeSession

PREPARE_S = 120.0  # models are loaded and warmed up, first gallery vectors computed
HAND_OVER_S = 25.0  # frames in flight have their time to end
ORDER_S = 5.0  # start, stop, delete
THREADS = 32
CONFLICT = 409

logger = logging.getLogger(__name__)
Failure = PeerAway | PeerError


class Peers:
    """Thread-safe. Every method answers with the failures per node instead of raising."""

    def __init__(self, client: ControlClient) -> None:
        self._client = client
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="peers")

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
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _order(self, session_id: int, nodes: Mapping[int, NodeAddress], order: str) -> dict[int, Failure]:
        return self._each(session_id, nodes, order, lambda _, url: _post(self._client, url))

    def _each(
        self, session_id: int, nodes: Mapping[int, NodeAddress], path: str, call: Callable[[int, str], object]
    ) -> dict[int, Failure]:
        urls = {n: f"{a.control_url.rstrip('/')}/sessions/{session_id}{path}" for n, a in nodes.items()}
        running = {n: self._pool.submit(_attempt, call, n, url) for n, url in urls.items()}
        failures = {n: future.result() for n, future in running.items()}
        return {n: failure for n, failure in failures.items() if failure is not None}


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
