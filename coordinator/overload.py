"""Which nodes have more to do than they can, and whose sessions look for a better place because of that. Pure."""

from collections.abc import Collection, Mapping

from coordinator.watch import LOOK_S, Watch

OVERLOAD, OVERLOAD_S = 90.0, 5.0  # % CPU of a node for so long
SOON_S = LOOK_S / 3  # within it the sessions of an overloaded node are looked at


class Overload:
    """Of the nodes that take new handlers. Times: monotonic s.

    nowhere: all of them are overloaded, so nobody has a better place.
    """

    def __init__(self) -> None:
        self.nowhere = False
        self._since: dict[int, float] = {}  # node -> since when it has been at OVERLOAD
        self._open: frozenset[int] = frozenset()
        self._overloaded: frozenset[int] = frozenset()
        self._new = False

    def note(self, cpu_util: Mapping[int, float], at: float) -> None:
        """Take the CPU load of the nodes that take new handlers, %."""
        self._new, self._open = bool(cpu_util.keys() - self._open), frozenset(cpu_util)
        self._since = {n: self._since.get(n, at) for n, load in cpu_util.items() if load >= OVERLOAD}
        self._overloaded = frozenset(n for n, since in self._since.items() if at - since >= OVERLOAD_S)
        self.nowhere = self._overloaded >= self._open

    def hurry(self, watch: Watch, used: Collection[int], at: float) -> None:
        """Have a session that uses the nodes *used* looked at: at once when there is a new node; soon when one of them
        is overloaded and another node has room.
        """
        if self._new:
            watch.hurry(at)
        elif not self._overloaded.isdisjoint(used) and self._open - self._since.keys():
            watch.hurry(at + SOON_S)
