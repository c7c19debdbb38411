"""The accounts of a session: every frame that came is delivered, dropped with a reason, or in flight."""

from array import array
from collections import Counter


class Tally:
    """limit_s: what a frame must be answered within; count_from: frames that came before (s) are booked, not judged."""

    __slots__ = (
        "_accuracy", "count_from", "delivered", "dropped", "frames_in", "judged", "judged_delivered",
        "latencies", "limit_s", "recent", "within",
    )  # fmt: skip

    def __init__(self, limit_s: float | None, count_from: float = 0.0) -> None:
        self.limit_s = float("inf") if limit_s is None else limit_s
        self.count_from = count_from
        self.frames_in, self.delivered = 0, 0
        self.dropped: Counter[str] = Counter()
        self.judged, self.judged_delivered, self.within = 0, 0, 0
        self.latencies = array("d")  # s, of the judged frames that were delivered
        self.recent: list[float] = []  # s, since take_recent()
        self._accuracy = 0.0

    def come(self, came: float) -> None:
        """A frame came at *came* (s)."""
        self.frames_in += 1
        if came >= self.count_from:
            self.judged += 1

    def deliver(self, came: float, now: float, accuracy: float | None) -> None:
        """The frame that came at *came* is answered."""
        latency = now - came
        self.delivered += 1
        self.recent.append(latency)
        if came >= self.count_from:
            self.judged_delivered += 1
            self.latencies.append(latency)
            self._accuracy += accuracy or 0.0
            if latency <= self.limit_s:
                self.within += 1

    def drop(self, why: str) -> None:
        """A frame will not be answered."""
        self.dropped[why] += 1

    def take_recent(self) -> list[float]:
        """Return the latencies (s) of the frames answered since the last call."""
        recent, self.recent = self.recent, []
        return recent

    @property
    def accuracy(self) -> float | None:
        """Mean accuracy of the variants that answered the judged frames."""
        return self._accuracy / self.judged_delivered if self.judged_delivered else None
