"""Nodes that may be dead are looked at at once: a refused connection is proof, silence is not.

heartbeats that say "unreachable", heartbeats that are late ─▶ Registry.doubtful ─▶ probes ─▶ Registry.call_down ─▶ wake
"""

import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from coordinator.registry import Registry

LOOK_S = 0.25
LATE_S = 1.5  # heartbeats come each second
CONNECT_S = 0.5
THREADS = 8

logger = logging.getLogger(__name__)


class Probes:
    """A thread from start() to stop(). wake: called when a node was found dead."""

    def __init__(self, registry: Registry, wake: Callable[[], None]) -> None:
        self._registry, self._wake = registry, wake
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="probe")
        self._thread = threading.Thread(target=self._run, name="probes", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; probes under way are short."""
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

    def look(self) -> None:
        """Probe every doubtful node now, and call down those that refuse."""
        doubtful = self._registry.doubtful(time.monotonic(), LATE_S)
        refused = self._pool.map(lambda node: refuses(node[1]), doubtful)
        for (node_id, _, heard), dead in zip(doubtful, refused, strict=True):
            if dead and self._registry.call_down(node_id, heard):
                logger.warning("node %d is down: it refuses connections", node_id)
                self._wake()


def refuses(url: str) -> bool:
    """Return True when nobody listens at *url*; a silent peer may be slow, or cut off from us alone."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=CONNECT_S).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False
