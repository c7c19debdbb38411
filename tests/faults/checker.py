"""What must hold after any fault, told from what clients saw and what the session's books say. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Key = tuple[str, int]  # X-Client, X-Sequence
Books = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """A client's record of one frame's final answer."""

    key: Key
    status: str  # of the result, or what came instead of one
    sequence: int | None
    boxes: object = None  # None: a picture came, not JSON
    attempts: int = 1  # posts that it took


@dataclass(frozen=True)
class Seen:
    """All that is known after a run."""

    sent: Mapping[Key, object]  # each frame that a client sent, and the boxes that belong to it
    answers: Sequence[Answer]
    stream: Sequence[int]  # sequences in the order in which the result stream had them
    books: Books


def faults(seen: Seen) -> list[str]:
    """Return every broken promise; none is what a test wants."""
    return [*_answers(seen), *_sequences(seen), *_books(seen)]


def balance(books: Books) -> list[str]:
    """Return why *books* do not balance (G1), at any moment."""
    right = books["delivered"] + sum(books["dropped"].values()) + books["in_flight"]
    return [] if books["frames_in"] == right else [f"frames_in {books['frames_in']} is not {right}: {dict(books)}"]


def _answers(seen: Seen) -> Iterator[str]:
    times = Counter(a.key for a in seen.answers)
    for key in seen.sent:
        if times[key] != 1:
            yield f"frame {key} was answered {times[key]} times"
    for answer in seen.answers:
        if answer.key not in seen.sent:
            yield f"frame {answer.key} was never sent"
        elif answer.status != "ok":
            yield f"frame {answer.key} is {answer.status}"
        elif answer.boxes is not None and answer.boxes != seen.sent[answer.key]:
            yield f"frame {answer.key} has the boxes {answer.boxes}, not {seen.sent[answer.key]}"


def _sequences(seen: Seen) -> Iterator[str]:
    times = Counter(a.sequence for a in seen.answers if a.sequence is not None)
    yield from (f"sequence {number} answers {count} frames" for number, count in times.items() if count > 1)
    for before, after in zip(seen.stream, seen.stream[1:], strict=False):
        if after <= before:
            yield f"the stream has {after} after {before}"
    highest = max([*times, *seen.stream], default=-1)
    if highest >= seen.books["frames_in"]:
        yield f"sequence {highest} of {seen.books['frames_in']} frames"


def _books(seen: Seen) -> Iterator[str]:
    books = seen.books
    yield from balance(books)
    if books["in_flight"]:
        yield f"{books['in_flight']} frames are still in flight"
    if books["next_sequence"] != books["frames_in"]:
        yield f"next_sequence {books['next_sequence']} after {books['frames_in']} frames"
    if books["delivered"] < len({a.sequence for a in seen.answers if a.status == "ok"}):
        yield f"{books['delivered']} delivered, but {len(seen.answers)} frames were answered"
    if books["frames_in"] > sum(a.attempts for a in seen.answers):
        yield f"{books['frames_in']} frames in, but fewer were posted"
