"""Frames that a handler sent on by an older plan than theirs, since it had not heard of theirs yet. Pure."""

from dataclasses import dataclass

from node.transport.routing import Routing


@dataclass(slots=True)
class _Went:
    """By one older plan."""

    ways: tuple[object, ...]
    through: int  # highest sequence
    let_go: int  # packets that the sender had let go before


class Early:
    """Which of them may be nowhere, once the older plan is over. While it is welcome its places still have them."""

    def __init__(self) -> None:
        self._went: dict[int, _Went] = {}  # by the older plan's epoch

    def __bool__(self) -> bool:
        return bool(self._went)

    def note(self, routing: Routing, sequence: int, let_go: int) -> None:
        """Note that a frame of a newer plan goes by *routing*. let_go: packets that the sender has let go so far."""
        went = self._went.setdefault(routing.plan.epoch, _Went(routing.ways, sequence, let_go))
        went.through = max(went.through, sequence)

    def astray(self, newest: Routing, let_go: int, *, idle: bool) -> int | None:
        """Return the highest sequence of frames that may be nowhere, each time once: they went another way than the
        newest plan's, or the sender has let packets go. idle: nothing of what it was given is still under way.
        """
        over = [e for e in self._went if newest.plan.accept_from > e]
        lost = [e for e in over if self._went[e].ways != newest.ways or self._went[e].let_go != let_go]
        through = max((self._went[e].through for e in lost), default=None)
        for epoch in over if idle else lost:
            del self._went[epoch]
        return through
