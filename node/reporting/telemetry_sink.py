"""From the children's telemetry to the reporter."""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from node.processes.control import LinkStats, Telemetry
from node.reporting.sampler import ProcessSample
from node.reporting.totals import Totals
from wire.messages import PacketInfo

logger = logging.getLogger(__name__)


class Receiver(Protocol):
    """The part of the reporter that takes telemetry."""

    def packets(self, rows: list[PacketInfo], /) -> None: ...

    def links(self, stats: list[LinkStats], /) -> None: ...

    def ended(self, samples: list[ProcessSample], /) -> None: ...


class Sink:
    """Hands packets and links on; counts what children had to leave out."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._lock = threading.Lock()
        self._unreachable: set[int] = set()
        self.lost = 0
        self.totals = Totals()
        self.hurry: Callable[[], None] = lambda: None  # called when a node proves unreachable

    def served(self, handler_type: int, telemetry: Telemetry) -> None:
        """Count the work of a handler's process."""
        if telemetry.frames:
            self.totals.served(handler_type, telemetry.service)

    def take(self, telemetry: Telemetry) -> None:
        """Hand over the rows of *telemetry*."""
        if telemetry.packets:
            self._receiver.packets(telemetry.packets)
        if telemetry.links:
            self._receiver.links(telemetry.links)
            self.totals.sent(telemetry.links)
        if telemetry.unreachable:
            with self._lock:
                self._unreachable.update(telemetry.unreachable)
            self.hurry()
        if telemetry.packets_lost:
            with self._lock:
                self.lost += telemetry.packets_lost
            logger.warning("%d packet events were left out: too many in a period", telemetry.packets_lost)

    def ended(self, samples: list[ProcessSample]) -> None:
        """Hand over what processes that have ended did since they were last sampled."""
        self._receiver.ended(samples)

    def unreachable(self) -> list[int]:
        """Return the nodes that took no connection since the last call."""
        with self._lock:
            found, self._unreachable = sorted(self._unreachable), set()
            return found
