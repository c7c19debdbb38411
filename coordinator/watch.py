"""What the rebalancer remembers of each session between its looks: since when something is broken, or better. Pure."""

from dataclasses import dataclass

from msgspec import Struct

from coordinator.rebalance import PATIENCE_S

LOOKS = 4  # sessions looked at in one period
MOVES = 2  # at a time
LOOK_S = 30.0  # between two looks for a better place, where nothing is wrong
AGAIN_S = 2.0  # when a better place was seen, or something is broken
PATIENT = 3  # looks that found nothing; after each more the wait doubles
CALM_S = 10.0  # an objective must be met for so long to count as met again
TELL_S = 60.0  # between two events about the same session's objective
FAILED_S = 15.0  # after a move that failed, doubled each time


class News(Struct, frozen=True, kw_only=True):
    """What an event should say: degraded with the fault, or recovered."""

    event: str
    why: str


@dataclass(slots=True)
class Watch:
    """One session. Times: monotonic s."""

    next_look: float
    fault: str | None = None
    broken_since: float | None = None
    fine_since: float | None = None
    better_since: float | None = None
    told: str | None = None  # the fault that an event spoke of and that is not over
    told_at: float = float("-inf")
    failures: int = 0
    dropped: int = 0
    displaced: bool = False  # one of a higher priority came in
    looked_at: float = float("-inf")
    vain: int = 0  # looks in a row that found nothing better

    def see(self, fault: str | None, at: float) -> News | None:
        """Note what is measured; return what is worth an event."""
        self.fault = fault
        if fault is not None:
            self.fine_since = None
            if self.broken_since is None:
                self.broken_since, self.vain = at, 0
            return self._tell(fault, at)
        self.fine_since = at if self.fine_since is None else self.fine_since
        if self.broken_since is not None and at - self.fine_since >= PATIENCE_S:
            self.broken_since = None
        if self.told is not None and at - self.fine_since >= CALM_S:
            self.told = None
            return News(event="recovered", why="its objective is met again")
        return None

    def drops(self, dropped: int) -> int:
        """Return how many frames were dropped since the last call."""
        new, self.dropped = max(0, dropped - self.dropped), dropped
        return new

    def broken_s(self, at: float) -> float:
        """Return for how long its objective has been broken."""
        return 0.0 if self.broken_since is None or self.fault is None else at - self.broken_since

    def better_s(self, at: float) -> float:
        """Return for how long another place has been better."""
        return 0.0 if self.better_since is None else at - self.better_since

    def due(self, at: float) -> bool:
        """Return whether another place should be looked for now."""
        return at >= self.next_look

    def looked(self, at: float, *, better: bool) -> None:
        """Note the end of a look, and whether another place was better."""
        self.looked_at = at
        self.better_since = (at if self.better_since is None else self.better_since) if better else None
        self.vain = 0 if better else self.vain + 1
        urgent = better or self.broken_since is not None
        self.next_look = at + (min(LOOK_S, AGAIN_S * 2.0 ** max(0, self.vain - PATIENT)) if urgent else LOOK_S)

    def moved(self, at: float) -> None:
        """Note a move: what was measured before says nothing any more."""
        self.broken_since = self.fine_since = self.better_since = None
        self.failures = self.vain = 0
        self.next_look = at + LOOK_S

    def failed(self, at: float) -> None:
        """Note a move that nodes refused."""
        self.next_look = at + FAILED_S * 2**self.failures
        self.failures = min(self.failures + 1, 8)

    def hurry(self, at: float) -> None:
        """Have it looked at by then."""
        self.next_look = min(self.next_look, at)

    def hurry_when_broken(self, at: float) -> None:
        """Have it looked at as soon as its objective has been broken for long enough."""
        if self.broken_since is not None and not self.failures and self.looked_at < self.broken_since + PATIENCE_S:
            self.next_look = min(self.next_look, self.broken_since + PATIENCE_S)

    def _tell(self, fault: str, at: float) -> News | None:
        if self.told is not None or self.broken_s(at) < PATIENCE_S or at - self.told_at < TELL_S:
            return None
        self.told, self.told_at = fault, at
        return News(event="degraded", why=fault)
