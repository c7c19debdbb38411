"""Many frames under way, results in order.

feeder ──put──▶ InOrder (bounded: window) ──get──▶ the caller's loop
  │  starts a delivery for each frame                waits for the oldest
  └▶ worker threads (window) ── Turnstile: sends leave in frame order
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """The queue takes no more, because nobody listens."""


class InOrder(Generic[T]):
    """A bounded first-in first-out queue that either side can end. Nothing is dropped: `put` waits for room."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[T] = deque()
        self._changed = Condition()
        self._ended = False
        self._closed = False

    def put(self, item: T) -> None:
        """Append *item*; waits for room. Raises Closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._size)
            if self._closed:
                raise Closed
            self._items.append(item)
            self._changed.notify_all()

    def end(self) -> None:
        """Say that no more will be put."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """Say that no more will be taken."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Yield what was put, in order, until the end."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._ended or self._closed)
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item


class Turnstile:
    """Lets holders of the numbers 0, 1, 2, ... through one at a time, in that order."""

    def __init__(self, first: int = 0) -> None:
        self._next = first
        self._open = False
        self._changed = Condition()

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """Wait until *number* is next; the one after it may go when the block ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._open or self._next >= number)
        try:
            yield
        finally:
            with self._changed:
                self._next = max(self._next, number + 1)
                self._changed.notify_all()

    def open(self) -> None:
        """Let everybody through from now on."""
        with self._changed:
            self._open = True
            self._changed.notify_all()
