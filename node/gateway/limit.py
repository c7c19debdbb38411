"""How many frames of a live session are let in at once, so that those that are answered come in time. Pure.

With N frames under way a frame takes N / throughput (Little 1961), whatever the graph looks like; a window that is
right for one machine is too large for a slower one, and a newer frame is worth more than one that comes too late. So
the limit follows what is measured: after a frame that took too long it goes to what would have been in time, in one
step. While frames come in time and others wait it grows: by one with each frame as long as twice as many under way
would be in time too, then by one each time all that are under way have been replaced; and to where frames were late a
moment ago only after PATIENCE times that, so that few are late for the sake of knowing.
"""

AIM = 0.8  # share of the bound that is aimed at: what scatters above it is still in time
PATIENCE = 30  # replacements of all frames under way before a limit that was too high is tried again


class Limit:
    """At most `frames` of a session's window, for frames that should take *bound_ms* at most."""

    def __init__(self, size: int, bound_ms: float | None) -> None:
        """size: the window, frames; bound_ms: latency that was promised, None: none."""
        self._size = size
        self._aim_ms = None if bound_ms is None else AIM * bound_ms
        self._limit = float(size) if bound_ms is None else min(2.0, size)
        self._too_high: int | None = None  # the limit at which a frame was late last
        self._settling = 0  # frames that were let in before the last cut: they say nothing about it

    @property
    def frames(self) -> int:
        """Frames that may be under way, 1 to the window's size."""
        return max(1, int(self._limit))

    def answered(self, latency_ms: float, *, others_wait: bool) -> None:
        """A frame took *latency_ms*; *others_wait*: there was no place for another one meanwhile."""
        if self._aim_ms is None:
            return
        if self._settling:
            self._settling -= 1
        elif latency_ms > self._aim_ms:
            self._too_high = self.frames
            self._settling = self.frames - 1
            self._limit = max(1.0, min(self._too_high - 1.0, self._limit * self._aim_ms / latency_ms))
        elif others_wait:
            self._limit = min(self._size, self._limit + self._step(latency_ms <= self._aim_ms / 2))

    def _step(self, twice: bool) -> float:
        """Return how much the limit grows by one frame in time; *twice*: it would be in time if it took twice that."""
        if self._too_high is None and twice:
            return 1.0
        return 1.0 / (self._limit * (PATIENCE if self.frames + 1 == self._too_high else 1))
