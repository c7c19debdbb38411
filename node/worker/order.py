"""A stateful handler gets its frames in sequence order, each once. Pure.

    join ─▶ Turnstile ─▶ execute          a frame waits for lower sequences that the entry still has open
                 └─ late ─▶ what it gave then is sent once more, else the frame is dropped: out_of_order

Replicas before the handler, and frames that are sent again, bring frames late or twice. A frame names its predecessor:
the highest lower sequence that was open when the entry sent it, and which has a predecessor of its own. A predecessor
that was settled without coming is not waited for as soon as any frame's `horizon`, the lowest open one, is above it.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
V = TypeVar("V")


class Turnstile(Generic[T]):
    """Lets frames through in order; at most *bound* wait."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._held: dict[int, tuple[int | None, T]] = {}  # sequence -> predecessor, frame
        self._last: int | None = None  # the highest sequence that went through; None: none did in this process
        self._horizon = 0  # sequences below it are settled: nobody waits for them

    def __len__(self) -> int:
        return len(self._held)

    def offer(self, sequence: int, previous: int | None, horizon: int, frame: T) -> list[T] | None:
        """Return the frames whose turn has come with *frame*, in order; None when the turn of *frame* is over.

        A frame that waits already is replaced: the entry has sent it again. When too many wait, the lowest goes.
        """
        self._horizon = max(self._horizon, horizon)
        if self._last is not None and sequence <= self._last:
            return None
        self._held[sequence] = previous, frame
        return self._released()

    def _released(self) -> list[T]:
        through = []
        while self._held:
            lowest = min(self._held)
            previous, frame = self._held[lowest]
            if self._may_come(previous) and len(self._held) <= self._bound:
                break
            del self._held[lowest]
            through.append(frame)
            self._last = lowest
        return through

    def _may_come(self, previous: int | None) -> bool:
        """Return True when *previous* is open and has not gone through here."""
        if previous is None or previous < self._horizon:
            return False
        return self._last is None or previous > self._last

    def forget(self, past: Callable[[T], bool]) -> None:
        """Drop those of who waits that are *past*: the entry sends them again under its new epoch."""
        self._held = {s: held for s, held in self._held.items() if not past(held[1])}


@dataclass(frozen=True, slots=True)
class Kept(Generic[V]):
    """A handler's word on a frame."""

    value: V
    size: int  # bytes


class Memory(Generic[V]):
    """What the handler gave for its last frames, to send it again; bounded in frames and bytes."""

    def __init__(self, frames: int, size: int) -> None:
        self._frames, self._size = frames, size
        self._kept: OrderedDict[int, Kept[V]] = OrderedDict()
        self._held = 0  # bytes

    def keep(self, sequence: int, value: V, size: int) -> None:
        """Keep *value* of *size* bytes; the oldest go when there is no room."""
        self._kept[sequence] = Kept(value, size)
        self._held += size
        while self._kept and (len(self._kept) > self._frames or self._held > self._size):
            self._held -= self._kept.popitem(last=False)[1].size

    def get(self, sequence: int) -> V | None:
        """Return what was given for *sequence*, when it is still here."""
        kept = self._kept.get(sequence)
        return None if kept is None else kept.value
