"""A session's books beyond the life of its entry: what a lost entry had counted, and where the next one begins.

heartbeats ─▶ LastBooks, by the life (boot) of the node ─▶ carried(): the plan that follows a lost entry keeps them
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping

from coordinator.records import Planned, replace
from wire.messages import ENTRY_PLACE, Books, Heartbeat

GAP = 1_000_000  # a new entry's numbers begin so much higher: the lost one had given more than it could report
MAX_LIVES = 10_000  # (session, boot) pairs that are remembered


class LastBooks:
    """The books that each entry reported last. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._books: OrderedDict[tuple[int, str], Books] = OrderedDict()

    def hear(self, beat: Heartbeat) -> None:
        """Take what a node says of the sessions that enter there."""
        with self._lock:
            for part in beat.sessions:
                if part.entry and part.books is not None:
                    self._books[part.session_id, beat.boot_id] = part.books
                    self._books.move_to_end((part.session_id, beat.boot_id))
            while len(self._books) > MAX_LIVES:
                self._books.popitem(last=False)

    def of(self, session_id: int, plan: Planned) -> Books | None:
        """Return what the entry of *plan* reported last, or None when it never did."""
        with self._lock:
            return self._books.get((session_id, plan.nodes[plan.entry_node].boot_id))


def same_entry(old: Planned, new: Planned) -> bool:
    """Return True when the entry is the same process group as before."""
    return (old.entry_node, old.nodes[old.entry_node].boot_id) == (new.entry_node, new.nodes[new.entry_node].boot_id)


def carried(old: Planned, new: Planned, last: Books | None, reason: str) -> Planned:
    """Return *new* with the accounts so far: those of *old*, and *last* of its entry when the entry is another now.

    The frames that were open there count as dropped, by *reason*.
    """
    if same_entry(old, new):
        return replace(new, first_sequence=old.first_sequence, past_books=old.past_books)
    first = max(old.first_sequence, last.next_sequence if last else 0) + GAP
    return replace(new, first_sequence=first, past_books=total(old.past_books, last and closed(last, reason)))


def handed_over(old: Planned, new: Planned, final: Books) -> Planned:
    """Return *new* with the accounts so far, when the entry of *old* went in order: its numbers go on."""
    return replace(new, first_sequence=final.next_sequence, past_books=total(old.past_books, final))


def closed(books: Books, reason: str) -> Books:
    """Return *books* with the frames in flight dropped by *reason*."""
    if not books.in_flight:
        return books
    open_ones = {reason: books.in_flight}
    return replace(
        books,
        dropped=_sum(books.dropped, open_ones),
        dropped_at=_sums(books.dropped_at, {ENTRY_PLACE: open_ones}),
        in_flight=0,
    )


def total(past: Books | None, now: Books | None) -> Books | None:
    """Return the sum of both."""
    if past is None or now is None:
        return now or past
    return Books(
        frames_in=past.frames_in + now.frames_in,
        delivered=past.delivered + now.delivered,
        dropped=_sum(past.dropped, now.dropped),
        dropped_at=_sums(past.dropped_at, now.dropped_at),
        in_flight=past.in_flight + now.in_flight,
        resent=past.resent + now.resent,
        next_sequence=max(past.next_sequence, now.next_sequence),
    )


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in [*one, *(k for k in other if k not in one)]}


def _sums(one: Mapping[str, Mapping[str, int]], other: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    return {key: _sum(one.get(key, {}), other.get(key, {})) for key in [*one, *(k for k in other if k not in one)]}
