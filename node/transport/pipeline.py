"""What is under way on one connection: sent, and not yet answered. Pure.

    submit ─▶ out ─ 202 ─▶ taken                  409 and the like ─▶ lost: the entry sends its frame again
               ├─ 403, 404, 503 ─▶ back           a refused packet and all behind it go again, in the same order
               └─ connection cut ─▶ back

Nothing new is sent while anything is in `back`, so packets keep their order on the connection. The other side helps:
a packet that says it was sent behind another is refused when that one was.
"""

from collections import deque
from enum import Enum
from typing import Generic, TypeVar

Item = TypeVar("Item")

DEPTH = 8  # packets under way at most
BYTES = 256 << 10  # and bytes, but for the first: more would only fall out of the caches
AGAIN = (403, 404, 503)  # the node does not know yet that we have a part in the session, or the session; or is full


class Fate(Enum):
    """What an answer means for its packet."""

    TAKEN = 0
    AGAIN = 1
    LOST = 2


def fate_of(status: int) -> Fate:
    """Return what *status* says of a packet."""
    if status == 202:
        return Fate.TAKEN
    return Fate.AGAIN if status in AGAIN else Fate.LOST


class Pipeline(Generic[Item]):
    """The packets of one connection, in order."""

    def __init__(self) -> None:
        self._out: deque[tuple[Item, int]] = deque()
        self._back: deque[Item] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._out)

    @property
    def stopped(self) -> bool:
        """True while packets must go again before any other."""
        return bool(self._back)

    def has_room(self, size: int) -> bool:
        """Return whether one more packet of *size* bytes may be under way."""
        return not self._out or (len(self._out) < DEPTH and self._bytes + size <= BYTES)

    def sent(self, item: Item, size: int) -> None:
        """Note that *item* is under way."""
        if self._back:
            raise ValueError("packets that were refused go first")
        self._out.append((item, size))
        self._bytes += size

    @property
    def first(self) -> Item:
        """The packet whose answer comes next. Raises IndexError when none is outstanding."""
        return self._out[0][0]

    def answered(self, status: int) -> tuple[Item, Fate]:
        """Take the next answer; returns the packet it is for, and what comes of it. What must go again is kept."""
        item, size = self._out.popleft()
        self._bytes -= size
        fate = fate_of(status)
        if fate is Fate.AGAIN:
            self._back.append(item)
        return item, fate

    def cut(self) -> None:
        """The connection is gone: nobody knows what became of the packets under way."""
        self._back += [item for item, _ in self._out]
        self._out.clear()
        self._bytes = 0

    def again(self) -> list[Item]:
        """Return what must go again, in order, when no answer is outstanding; it is forgotten here."""
        if self._out:
            raise ValueError("answers are outstanding")
        back, self._back = list(self._back), deque()
        return back
