"""The mean of what was counted lately: soon true again when something has changed. Pure."""

from collections import deque

OVER_S = 3.0  # the mean is of at least so long,
LEAST = 4  # and of at least so many


class SlidingMean:
    """Of running totals. At most one mark per call of the last OVER_S seconds and LEAST values is kept."""

    def __init__(self, at: float) -> None:
        self._marks = deque([(at, 0, 0.0)])  # monotonic s, count, sum: oldest first
        self.value: float | None = None

    def take(self, at: float, count: int, total: float) -> None:
        """Take the totals of *at* (monotonic s)."""
        marks = self._marks
        if count == marks[-1][1]:
            return
        marks.append((at, count, total))
        while at - marks[1][0] >= OVER_S and count - marks[1][1] >= LEAST:
            marks.popleft()
        self.value = (total - marks[0][2]) / (count - marks[0][1])
