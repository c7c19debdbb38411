"""Nodes that may be dead are looked at at once: a refused connection is proof, an answer is a sign of life.

heartbeats that say "unreachable" ─┐                          ┌─ refuses ─▶ Registry.call_down ─▶ wake
nodes without a late sign of life ─┴▶ Registry.doubtful ─▶ look ─ answers ─▶ Registry.answered
                                                              └─ silent ──▶ nothing: the time-out counts on
Looks are threads of a pool, one per node at a time, so that silent nodes do not hold up the others.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum, auto
from urllib.parse import urlsplit

from coordinator.registry import Registry
from wire.client import ControlClient, PeerAway, PeerError

LOOK_S = 0.25
LATE_S = 1.5  # heartbeats come each second
CONNECT_S = 0.5
ANSWER_S = 1.0
THREADS = 16

logger = logging.getLogger(__name__)


class Finding(Enum):
    """What a look says. SILENT: slow, frozen, or cut off from us alone."""

    REFUSES, SILENT, ANSWERS = auto(), auto(), auto()


class Probes:
    """A thread from start() to stop(). wake: called when a node was found dead."""

    def __init__(self, registry: Registry, client: ControlClient, wake: Callable[[], None]) -> None:
        self._registry, self._client, self._wake = registry, client, wake
        self._stopped = threading.Event()
        self._looked_at: set[int] = set()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="probe")
        self._thread = threading.Thread(target=self._run, name="probes", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; looks under way are short."""
        self._stopped.set()
        self._registry.doubts.set()
        if self._thread.ident:
            self._thread.join(timeout=5)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._registry.doubts.wait(LOOK_S)
            self._registry.doubts.clear()
            try:
                self.look()
            except Exception:
                logger.exception("looking at nodes failed")

    def look(self) -> list[Future[None]]:
        """Begin to look at every doubtful node that nobody looks at now; returns what may be waited for."""
        begun = []
        for node_id, url, heard in self._registry.doubtful(time.monotonic(), LATE_S):
            with self._lock:
                if node_id in self._looked_at:
                    continue
                self._looked_at.add(node_id)
            begun.append(self._pool.submit(self._examine, node_id, url, heard))
        return begun

    def _examine(self, node_id: int, url: str, heard: float) -> None:
        """Look at one node and tell the registry; a thread's outermost frame."""
        try:
            began, found = time.monotonic(), examine(url, self._client)
            if found is Finding.ANSWERS:
                self._registry.answered(node_id, began)
            elif found is Finding.REFUSES and self._registry.call_down(node_id, heard):
                logger.warning("node %d is down: it refuses connections", node_id)
                self._wake()
        except Exception:
            logger.exception("looking at node %d failed", node_id)
        finally:
            with self._lock:
                self._looked_at.discard(node_id)


def examine(url: str, client: ControlClient) -> Finding:
    """Return what the agent whose control API is at *url* does when it is asked whether it lives."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=CONNECT_S).close()
        client.get(f"{url.rstrip('/')}/healthz", timeout=ANSWER_S)
    except ConnectionRefusedError:
        return Finding.REFUSES
    except (OSError, PeerAway, PeerError):
        return Finding.SILENT
    return Finding.ANSWERS
