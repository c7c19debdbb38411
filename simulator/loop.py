"""The simulated clock: events in the order of their times, those of one time in the order they were made."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

Event = tuple[float, int, Callable[..., None], tuple[Any, ...]]  # when (s), serial, what to call, with what


class Loop:
    """Events as plain tuples in one heap: about a microsecond each."""

    __slots__ = ("_heap", "_serial", "events", "now", "stale")

    def __init__(self) -> None:
        self.now = 0.0  # s
        self.events = 0  # that have happened
        self.stale = 0  # of them those that meant nothing any more
        self._serial = 0
        self._heap: list[Event] = []

    def at(self, time: float, action: Callable[..., None], *args: Any) -> None:
        """Call action(*args) at *time* (s), never before now."""
        self._serial += 1
        heappush(self._heap, (time, self._serial, action, args))

    def run(self, until: float) -> None:
        """Let everything happen that is due up to *until* (s); the clock then stands there."""
        heap, events = self._heap, 0
        while heap and heap[0][0] <= until:
            self.now, _, action, args = heappop(heap)
            action(*args)
            events += 1
        self.events += events
        self.now = max(self.now, until)
