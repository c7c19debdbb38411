"""How far this node's clock is from the coordinator's, from heartbeats and their answers. Pure: readings are given.

NTP's on-wire formula (RFC 5905, section 8): with t1 sent, t2 received, t3 answered, t4 heard,
    offset = ((t2 - t1) + (t3 - t4)) / 2,  delay = (t4 - t1) - (t3 - t2),  |error| <= delay / 2
Of the last exchanges the one with the least bound counts (its clock filter); a bound grows with age by the drift that
two clocks may have. For people only: durations are taken by one clock, or say so.
"""

from collections import deque
from typing import NamedTuple

KEPT = 64  # exchanges: about a minute
DRIFT = 30e-6  # s per s: two ordinary quartz clocks (NTP assumes 15 ppm for each)


class Offset(NamedTuple):
    """This node's clock minus the coordinator's, and by how much that may be wrong, both in ms."""

    offset_ms: float
    error_ms: float


class _Exchange(NamedTuple):
    offset: float  # s
    bound: float  # s
    heard: float  # monotonic, s


class ClockFilter:
    """Of one peer; begin anew with another."""

    def __init__(self) -> None:
        self._kept: deque[_Exchange] = deque(maxlen=KEPT)

    def note(self, sent: float, received: float, answered: float, heard: float, mono: float) -> None:
        """Take an exchange: sent and heard by our clock, received and answered by the peer's (s since the epoch)."""
        delay = (heard - sent) - (answered - received)
        if delay < 0 or answered < received:  # a clock was set meanwhile
            self._kept.clear()
            return
        ahead = ((sent - received) + (heard - answered)) / 2
        if self._kept and abs(ahead - self._kept[-1].offset) > delay / 2 + self._bound(self._kept[-1], mono):
            self._kept.clear()  # the two cannot both be true: a clock was set
        self._kept.append(_Exchange(ahead, delay / 2, mono))

    def offset(self, mono: float) -> Offset | None:
        """Return what is known at *mono* (monotonic, s), or None."""
        if not self._kept:
            return None
        best = min(self._kept, key=lambda e: self._bound(e, mono))
        return Offset(round(best.offset * 1000, 3), round(self._bound(best, mono) * 1000, 3))

    def _bound(self, exchange: _Exchange, mono: float) -> float:
        return exchange.bound + DRIFT * (mono - exchange.heard)
