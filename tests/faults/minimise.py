"""The fewest faults that still break a promise: delta debugging (Zeller and Hildebrandt 2002, ddmin). Pure."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def ddmin(items: Sequence[T], breaks: Callable[[Sequence[T]], bool]) -> list[T]:
    """Return a part of *items*, in order, that breaks, and of which no single item can be left out.

    breaks: told of a part; of the whole it is taken to be True, of nothing False. A test that is not certain may
    leave more items than need be.
    """
    left, pieces = list(items), 2
    while len(left) > 1:
        parts = [left[i * len(left) // pieces : (i + 1) * len(left) // pieces] for i in range(pieces)]
        others = [[item for j, part in enumerate(parts) if j != i for item in part] for i in range(pieces)]
        found = next((part for part in parts if breaks(part)), None)
        if found is not None:
            left, pieces = found, 2
        elif pieces > 2 and (found := next((rest for rest in others if breaks(rest)), None)) is not None:
            left, pieces = found, pieces - 1
        elif pieces < len(left):
            pieces = min(len(left), 2 * pieces)
        else:
            break
    return left
