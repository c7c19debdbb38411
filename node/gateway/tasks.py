"""A request whose answer needs no waiting in a thread: its body goes to memory that is there, then it is completed."""

from collections.abc import Callable
from typing import Protocol

from node.transport.connection import Connection


class MustWait(Exception):
    """What is left of a task may block: a thread does it, and then the task is as if completed."""

    def __init__(self, rest: Callable[[], None]) -> None:
        super().__init__("the rest of a task may block")
        self.rest = rest


class Task(Protocol):
    """One request on its way."""

    room: memoryview  # where the body goes, to the byte
    due: float  # monotonic s: when `answer` is called though nobody has called `wake`

    def complete(self, connection: Connection, wake: Callable[[], None]) -> bool:
        """Do it, once the body is in `room`. True: answered. False: *wake* will be called when `answer` can be.

        Raises HttpError, MustWait.
        """

    def answer(self, connection: Connection) -> None:
        """Send the answer, after *wake* or when it is due."""

    def abandon(self) -> None:
        """The body never came, or what was left to do failed."""


class AtOnce:
    """A task that is answered as soon as its body is there."""

    due = float("inf")
    room: memoryview

    def answer(self, connection: Connection) -> None:
        """Nothing: it was answered."""

    def abandon(self) -> None:
        """Nothing is held but `room`."""
