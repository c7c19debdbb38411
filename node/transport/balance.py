"""Which replica gets a frame: the one with the fewest of this sender's frames outstanding. Pure; time comes in.

A replica works through its frames in the order they came, so one word from it, the sequence that it finished last,
settles all before. A frame that was lost on the way is settled by the next one that is not, or forgotten in time. A
replica whose node takes no connection is passed over for a while, as long as there is another.
"""

from collections import defaultdict
from collections.abc import Sequence

from wire.messages import Route

FORGET_S = 10.0  # a frame that is out for so long says nothing of its replica any more: it may have died with it
AWAY_S = 5.0  # how long a node that took no connection is passed over; by then the plan has changed, or it is back

Replica = tuple[int, int]  # handler_id, node_id


class Balance:
    """One sender's frames at the replicas it sends to."""

    def __init__(self) -> None:
        self._out: dict[Replica, dict[int, float]] = defaultdict(dict)  # sequence -> when it was sent, monotonic s
        self._away: dict[int, float] = {}  # node_id -> when it took no connection, monotonic s

    def choose(self, handler_id: int, replicas: Sequence[Route], sequence: int, now: float) -> Route:
        """Return the replica for *sequence*, which counts as sent there; equals take turns."""
        replicas = self.alive(replicas, now) or replicas
        first = sequence % len(replicas)
        turns = [*replicas[first:], *replicas[:first]]
        route = min(turns, key=lambda r: self.outstanding(handler_id, r.node_id, now))
        self._out[handler_id, route.node_id][sequence] = now
        return route

    def alive(self, replicas: Sequence[Route], now: float) -> list[Route]:
        """Return those of *replicas* whose nodes are not passed over."""
        return [r for r in replicas if now - self._away.get(r.node_id, -AWAY_S) >= AWAY_S]

    def away(self, node_id: int, now: float) -> None:
        """A node took no connection: what is out there will not come back by itself."""
        self._away[node_id] = now
        for replica in [r for r in self._out if r[1] == node_id]:
            del self._out[replica]

    def outstanding(self, handler_id: int, node_id: int, now: float) -> int:
        """Return how many frames are out at a replica, as far as this sender knows."""
        out = self._out[handler_id, node_id]
        for sequence in [s for s, sent in out.items() if now - sent > FORGET_S]:
            del out[sequence]
        return len(out)

    def done(self, handler_id: int, node_id: int, last: int) -> None:
        """A replica has finished *last*: nothing up to it is outstanding there."""
        out = self._out[handler_id, node_id]
        for sequence in [s for s in out if s <= last]:
            del out[sequence]
