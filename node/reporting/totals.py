"""What the node's processes counted since the agent's start, beyond the sessions that it was counted in."""

import threading
from collections.abc import Iterable

from msgspec import Struct

from node.processes.control import LinkStats
from node.reporting.tally import SEND_S, SERVICE_S, Counts, Tally


class Hop(Struct, frozen=True):
    """What went to another node: packets by the time each took, and their bytes."""

    seconds: Counts
    bytes: int


class Totals:
    """Thread-safe. By handler type, and by the node that was sent to: no more series than there are of those."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._service: dict[int, Tally] = {}
        self._sends: dict[int, Tally] = {}
        self._bytes: dict[int, int] = {}

    def served(self, handler_type: int, counts: Counts) -> None:
        """Add what a handler's process counted."""
        with self._lock:
            self._service.setdefault(handler_type, Tally(SERVICE_S)).merge(counts)

    def sent(self, links: Iterable[LinkStats]) -> None:
        """Add what a process sent."""
        with self._lock:
            for link in links:
                node_id = link.target_node_id
                self._sends.setdefault(node_id, Tally(SEND_S)).merge(link.seconds)
                self._bytes[node_id] = self._bytes.get(node_id, 0) + link.bytes

    def service(self) -> dict[int, Counts]:
        """Return handler_type -> service times."""
        with self._lock:
            return {kind: tally.read() for kind, tally in self._service.items()}

    def hops(self) -> dict[int, Hop]:
        """Return node_id -> what went there."""
        with self._lock:
            return {node: Hop(tally.read(), self._bytes[node]) for node, tally in self._sends.items()}
