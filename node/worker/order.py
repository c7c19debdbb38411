"""A stateful handler gets its frames in sequence order, each once. Pure.

    join ─▶ Turnstile ─▶ execute          a frame waits for lower sequences that the entry still has open
                 └─ late ─▶ what it gave then is sent once more, else the frame is dropped: out_of_order

Replicas before the handler, and frames that are sent again, bring frames late or twice. A frame's `horizon` tells
which lower sequences may still come: those from the lowest one that was open when the entry sent the frame.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
V = TypeVar("V")


class Turnstile(Generic[T]):
    """Lets frames through in order; at most *bound* wait."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._held: dict[int, T] = {}
        self._last: int | None = None  # the highest sequence that went through; None: none did in this process
        self._horizon = 0  # sequences below it are settled: nobody waits for them

    def __len__(self) -> int:
        return len(self._held)

    def offer(self, sequence: int, horizon: int, frame: T) -> list[T] | None:
        """Return the frames whose turn has come with *frame*, in order; None when the turn of *frame* is over.

        A frame that waits already is replaced: the entry has sent it again. When too many wait, the lowest goes.
        """
        self._horizon = max(self._horizon, horizon)
        if self._last is not None and sequence <= self._last:
            return None
        self._held[sequence] = frame
        return self._released()

    def _released(self) -> list[T]:
        through = []
        while self._held:
            lowest = min(self._held)
            follows = lowest <= self._horizon or (self._last is not None and lowest == self._last + 1)
            if not follows and len(self._held) <= self._bound:
                break
            through.append(self._held.pop(lowest))
            self._last = lowest
        return through

    def forget(self) -> None:
        """Drop those who wait: the entry sends them again under its new epoch."""
        self._held.clear()


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
