"""What must hold after any fault, told from clients' records, the session's books and what the API says. Pure.

G1 the books balance, and agree with what came      G2 streams in order, each once; so a stateful handler's input
G3 never more in flight than the window             G4 each (X-Client, X-Sequence) has one result
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

Key = tuple[str, int]  # X-Client, X-Sequence
Books = Mapping[str, Any]
SET_ASIDE = "died 2 times with this frame"


@dataclass(frozen=True)
class Answer:
    """A client's record of one frame's final answer."""

    key: Key
    status: str  # of the result, or what came instead of one
    sequence: int | None
    mark: int | None = None  # which frame the result was made of, by its own word
    told: str = ""  # the reason, or what came instead
    attempts: int = 1  # posts that it took
    began: float = 0.0  # monotonic s
    ended: float = 0.0


@dataclass(frozen=True)
class Seen:
    """All that is known of a session after a run."""

    sent: Mapping[Key, int]  # how often the client delivered each frame, repeats after cuts not counted
    marks: Mapping[Key, int]  # which number each frame carried
    answers: Sequence[Answer]
    streams: Sequence[Sequence[Mapping[str, Any]]]  # results as each listener had them
    books: Books  # by the API
    file: Books | None = None  # by the session's books file
    in_flight: Sequence[int] = ()  # by the API, during the run
    window: int = 16
    live: bool = False
    entry_lost: bool = False  # the entry's gateway was killed: its open frames are dropped, what it answered is kept
    node_lost: bool = False  # the entry's node was killed: the new entry's numbers begin higher
    killed: Mapping[int, int] = field(default_factory=dict)  # handler_id -> how often
    others: int = 0  # posts that are no client's


def faults(seen: Seen) -> list[str]:
    """Return every broken promise; none is what a run wants."""
    return [*_answers(seen), *_pairs(seen), *_sequences(seen), *_streams(seen), *_stateful(seen), *_books(seen)]


def balance(books: Books) -> list[str]:
    """Return why *books* do not balance (G1), at any moment."""
    right = books["delivered"] + sum(books["dropped"].values()) + books["in_flight"]
    return [] if books["frames_in"] == right else [f"G1: frames_in {books['frames_in']} is not {right}: {dict(books)}"]


def _answers(seen: Seen) -> Iterator[str]:
    """Each frame is answered as often as it was delivered, and by its own result."""
    times = Counter(a.key for a in seen.answers)
    for key, count in seen.sent.items():
        if times[key] != count:
            yield f"G4: frame {key} was delivered {count} times and answered {times[key]} times"
    for answer in seen.answers:
        if answer.key not in seen.sent:
            yield f"G4: frame {answer.key} was never sent"
        elif not _honest(seen, answer):
            yield f"G4: frame {answer.key} is {answer.status} after {answer.attempts} posts: {answer.told}"
        elif answer.status == "ok" and answer.mark != seen.marks[answer.key]:
            yield f"G4: frame {answer.key} has the result of {answer.mark}, not of {seen.marks[answer.key]}"


def _honest(seen: Seen, answer: Answer) -> bool:
    """Return True when the contract lets a frame end like that."""
    if answer.status == "dropped":
        return seen.live
    set_aside = SET_ASIDE in answer.told and any(count > 1 for count in seen.killed.values())
    return answer.status == "ok" or (answer.status == "failed" and set_aside)


def _pairs(seen: Seen) -> Iterator[str]:
    """A pair has one result, however often it was posted; what was dropped may be posted anew."""
    found: dict[Key, set[int | None]] = defaultdict(set)
    for answer in seen.answers:
        if answer.status in ("ok", "failed"):
            found[answer.key].add(answer.sequence)
    for key, sequences in found.items():
        if len(sequences) > 1 and not seen.node_lost:
            yield f"G4: frame {key} has the results {sorted(s for s in sequences if s is not None)}"


def _sequences(seen: Seen) -> Iterator[str]:
    """A sequence is one frame's."""
    owners: dict[int, set[Key]] = defaultdict(set)
    for answer in seen.answers:
        if answer.sequence is not None:
            owners[answer.sequence].add(answer.key)
    for sequence, keys in owners.items():
        if len(keys) > 1:
            yield f"G4: sequence {sequence} answers {sorted(keys)}"
        if sequence >= seen.books["next_sequence"]:
            yield f"G1: sequence {sequence}, but the next is {seen.books['next_sequence']}"


def _streams(seen: Seen) -> Iterator[str]:
    """In order, each once, the same results that posts are answered with, and none missing while the entry lives."""
    final = {a.sequence: a for a in seen.answers if a.status in ("ok", "failed") and a.sequence is not None}
    for stream in seen.streams:
        sequences = [r["sequence"] for r in stream]
        for before, after in pairwise(sequences):
            if after <= before:
                yield f"G2: a stream has {after} after {before}"
        for result in stream:
            answer = final.get(result["sequence"])
            if answer is not None and (answer.status, answer.mark) != (result["status"], mark_of(result, answer)):
                yield f"G4: sequence {result['sequence']} is {result['status']} in a stream, {answer.status} in a post"
        missing = set(final) - set(sequences)
        if missing and not seen.node_lost:
            yield f"G2: a stream lacks {sorted(missing)[:10]}"


def mark_of(result: Mapping[str, Any], answer: Answer) -> int | None:
    """Return which frame *result* is of; a failed one does not say."""
    boxes = result["boxes"]
    return int(boxes[0]["x"]) if boxes else answer.mark


def _stateful(seen: Seen) -> Iterator[str]:
    """The counts that a stateful handler's process gave grow by one with each sequence."""
    for stream in seen.streams:
        last: dict[str, tuple[int, int]] = {}
        for result in stream:
            for box in result["boxes"]:
                life, count = box["label"], box["y"]
                sequence, before = last.get(life, (-1, count - 1))
                if count <= before:
                    yield f"G2: a stateful handler had {result['sequence']} before {sequence} ({count}, {before})"
                last[life] = (result["sequence"], count)


def _books(seen: Seen) -> Iterator[str]:
    books = seen.books
    yield from balance(books)
    if books["in_flight"]:
        yield f"G1: {books['in_flight']} frames are still in flight"
    if seen.file is not None and not seen.node_lost and dict(seen.file) != dict(books):
        yield f"G1: the books file has {dict(seen.file)}, the API {dict(books)}"
    if not seen.node_lost and books["next_sequence"] != books["frames_in"]:
        yield f"G1: next_sequence {books['next_sequence']} after {books['frames_in']} frames"
    if books["frames_in"] > sum(a.attempts for a in seen.answers) + seen.others:
        yield f"G1: {books['frames_in']} frames in, but fewer were posted"
    yield from _reasons(seen)
    yield from _totals(seen)
    if max(seen.in_flight, default=0) > seen.window:
        yield f"G3: {max(seen.in_flight)} frames in flight, the window is {seen.window}"


def _reasons(seen: Seen) -> Iterator[str]:
    """Frames are dropped only for what the plan did to them."""
    allowed = {"live_newer", "live_full"} if seen.live else set[str]()
    allowed |= {"gateway_lost"} if seen.entry_lost else set()
    allowed |= {"gateway_lost", "entry_lost", "entry_moved"} if seen.node_lost else set()
    for reason, count in seen.books["dropped"].items():
        if reason not in allowed:
            yield f"G1: {count} frames dropped: {reason}"


def _totals(seen: Seen) -> Iterator[str]:
    """While the entry's node lives, all that a session has booked is in its streams, but for what a gateway lost."""
    if seen.node_lost:  # its books go on from the last heartbeat
        return
    answered = {a.sequence for a in seen.answers if a.status in ("ok", "failed")}
    if seen.books["delivered"] < len(answered):
        yield f"G1: {seen.books['delivered']} delivered, but {len(answered)} results were answered"
    dropped = sum(count for reason, count in seen.books["dropped"].items() if reason != "gateway_lost")
    for stream in seen.streams:
        statuses = Counter("dropped" if r["status"] == "dropped" else "delivered" for r in stream)
        booked = {"delivered": seen.books["delivered"], "dropped": dropped}
        for status, count in booked.items():
            if statuses[status] != count:
                yield f"G1: {count} {status} in the books, {statuses[status]} in a stream"
