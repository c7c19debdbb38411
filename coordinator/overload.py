"""Which nodes have more to do than they can, and whose sessions look for a better place because of that. Pure."""

from collections.abc import Collection, Mapping

from coordinator.watch import LOOK_S, Watch

OVERLOAD, OVERLOAD_S = 90.0, 5.0  # % CPU of a node for so long
SOON_S = LOOK_S / 3  # within it the sessions of an overloaded node are looked at


class Overload:
    """Times: monotonic s. nowhere: all nodes that take new handlers are overloaded, so nobody has a better place."""

    def __init__(self) -> None:
        self.nowhere = False
        self._since: dict[int, float] = {}  # node -> since when it has been at OVERLOAD
        self._open: frozenset[int] = frozenset()
        self._overloaded: frozenset[int] = frozenset()
        self._new = self._room = False

    def note(self, cpu_util: Mapping[int, float], takers: Collection[int], at: float) -> None:
        """Take the CPU load of the living nodes, %. takers: those that take new handlers."""
        open_ = frozenset(takers)
        self._new, self._open = bool(open_ - self._open), open_
        self._since = {n: self._since.get(n, at) for n, load in cpu_util.items() if load >= OVERLOAD}
        self._overloaded = frozenset(n for n, since in self._since.items() if at - since >= OVERLOAD_S)
        self._room = bool(open_ - self._since.keys())
        self.nowhere = self._overloaded >= open_

    def hurry(self, watch: Watch, used: Collection[int], at: float) -> None:
        """Have a session that uses the nodes *used* looked at: at once when there is a new node; soon when one of them
        is overloaded and a node that takes new handlers has room.
        """
        if self._new:
            watch.hurry(at)
        elif self._room and not self._overloaded.isdisjoint(used):
            watch.hurry(at + SOON_S)
