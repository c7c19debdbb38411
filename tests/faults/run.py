"""One run: a laboratory, the sessions of a plan, its clients and its faults; then what the checker says."""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import requests

from node.gateway.books import BooksFile
from tests.e2e.live_session import LiveSession, wait_for
from tests.faults import checker
from tests.faults.checker import Answer, Seen
from tests.faults.lab import Lab, door_host, laboratory
from tests.faults.mischief import Mischief
from tests.faults.plans import Part, Plan, What, Work
from tests.faults.posting import Client, Listener, Whereabouts
from tests.faults.services import NAME

LONGEST_S = 90.0  # for the frames
SETTLE_S = 30.0  # for the books and streams after the last frame
AFTER = 3  # answers that each client gets after the last fault


@dataclass
class Outcome:
    """What a run showed."""

    seed: int
    frames: int = 0
    posts: int = 0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)
    books: list[dict[str, Any]] = field(default_factory=list)
    slowest_s: float = 0.0  # a frame's way to its answer, over all posts
    skipped: list[str] = field(default_factory=list)  # faults that met nobody
    figures: dict[str, Any] = field(default_factory=dict)

    def note(self, number: int, seen: Seen) -> None:
        """Add what a session showed, and what is wrong with it."""
        self.violations += [f"session {number}: {fault}" for fault in checker.faults(seen)]
        self.books.append(dict(seen.books))
        self.frames += len(seen.answers)
        self.posts += sum(a.attempts for a in seen.answers)
        self.slowest_s = max(self.slowest_s, *(a.ended - a.began for a in seen.answers), 0.0)


@dataclass(frozen=True)
class Damage:
    """What faults may have done to a session's entry and handlers; see Seen."""

    entry_lost: bool
    node_lost: bool
    killed: Mapping[int, int]
    others: int = 0  # posts that are no client's

    @classmethod
    def planned(cls, plan: Plan, number: int, entry: int) -> "Damage":
        """Return what *plan* does to the session *number*, whose entry stays where it is."""
        kills = Counter(
            f.handler_id for f in plan.faults if (f.part, f.what, f.session) == (Part.HANDLER, What.KILL, number)
        )
        return cls(plan.has(Part.GATEWAY, What.KILL, entry), plan.has(Part.NODE, What.KILL), kills)


class Traffic:
    """A session and those who use it."""

    def __init__(self, lab: Lab, number: int, work: Work, seed: int) -> None:
        pin = {h: nodes if len(nodes) > 1 else nodes[0] for h, nodes in work.pin.items()}
        self.work = work
        choices = {"entry_node": work.entry_node} if work.entry_node else {"replicas": work.replicas}
        self.session = LiveSession.create(
            lab.url, NAME, variant=work.variant, pin=pin, delivery=work.delivery, window=work.window, **choices
        )
        self.url = Whereabouts(self.session, door_host)
        self.clients = [
            Client(f"{number}-{sender.kind}-{i}", 8 * number + i, sender, work.delivery == "live", seed + i, self.url)
            for i, sender in enumerate(work.senders)
        ]
        self.listeners = [Listener(f"{number}-listener-{e}", self.url, events=e) for e in (False, True)]
        self.in_flight: list[int] = []

    @property
    def answers(self) -> int:
        """Frames answered so far."""
        return sum(len(client.answers) for client in self.clients)

    def start(self) -> None:
        """Begin to post and to listen."""
        for listener in self.listeners:
            listener.start()
        for client in self.clients:
            client.start()

    def look(self) -> list[str]:
        """Look at the books as they are now; returns what is wrong with them."""
        try:
            books = self.session.books()
        except (requests.RequestException, KeyError):
            return []  # no coordinator, or no word from the node
        if books is None:
            return []
        self.in_flight.append(books["in_flight"])
        return checker.balance(books)

    @property
    def all_answers(self) -> list[Answer]:
        """What all its clients got."""
        return [answer for client in self.clients for answer in client.answers]

    def finish(self) -> list[str]:
        """Let the clients bring what is begun to its end; returns who does not."""
        for client in self.clients:
            client.done.set()
        return [f"client {c.name} does not end" for c in self.clients if not c.join(60)]

    def settle(self, lab: Lab, *, moved: bool) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Wait until the books and streams have settled; returns the books by the API and, unless *moved*, the file."""
        highest = max((a.sequence for a in self.all_answers if a.sequence is not None), default=-1)
        books: dict[str, Any] = {}

        def settled() -> bool:
            books.clear()
            books.update(self.session.books() or {})
            return bool(books) and books["next_sequence"] > highest and not books["in_flight"]

        def same() -> bool:
            return settled() and books == read_books(lab.books_file(self.session.id))

        for condition in (settled if moved else same, lambda: all(one.last >= highest for one in self.listeners)):
            try:
                wait_for(condition, "", patience_s=SETTLE_S)
            except AssertionError:
                break  # the checker says what is wrong
        for listener in self.listeners:
            listener.done.set()
        for listener in self.listeners:
            listener.join(5)
        return books, None if moved else read_books(lab.books_file(self.session.id))

    def seen(self, lab: Lab, damage: Damage) -> Seen:
        """Return all that is known."""
        books, file = self.settle(lab, moved=damage.node_lost)
        return Seen(
            sent={key: count for client in self.clients for key, count in client.sent.items()},
            marks={key: client.mark(key) for client in self.clients for key in client.sent},
            answers=self.all_answers,
            streams=[listener.results for listener in self.listeners],
            books=books,
            file=file,
            in_flight=self.in_flight,
            window=self.work.window,
            live=self.work.delivery == "live",
            entry_lost=damage.entry_lost,
            node_lost=damage.node_lost,
            killed=damage.killed,
            others=damage.others,
        )


def read_books(path: Path | None) -> dict[str, Any] | None:
    """Return the books in the file *path*; a copy is read, since opening a file settles its open frames."""
    if path is None:
        return None
    copy = path.with_name(f"copy-of-{path.name}")
    try:
        copy.write_bytes(path.read_bytes())
        file = BooksFile(copy)
        books: dict[str, Any] = msgspec.to_builtins(file.read())
        file.close()
    finally:
        copy.unlink(missing_ok=True)
    return books


def run(plan: Plan, frames: int, keep: Path | None = None) -> Outcome:
    """Carry *plan* out with at least *frames* answered frames; the daemons' logs go to *keep* when that is given."""
    began, outcome = time.monotonic(), Outcome(plan.seed)
    with laboratory(keep) as lab:
        traffic = [Traffic(lab, number, work, plan.seed) for number, work in enumerate(plan.works)]
        for one in traffic:
            one.start()
        outcome.violations += through(Mischief(lab, [one.session.id for one in traffic]), plan, traffic, frames)
        outcome.violations += [fault for one in traffic for fault in one.finish()]
        for number, one in enumerate(traffic):
            outcome.note(number, one.seen(lab, Damage.planned(plan, number, one.work.entry_node)))
            one.session.close()
        outcome.violations += lab.end()
    outcome.seconds = round(time.monotonic() - began, 1)
    return outcome


def through(mischief: Mischief, plan: Plan, traffic: list[Traffic], frames: int) -> list[str]:
    """Let the faults happen, then wait for the frames; returns what went wrong meanwhile."""
    told: list[str] = []
    wait_for(lambda: all(one.answers >= AFTER for one in traffic), "the first answers", patience_s=30)
    enough = time.monotonic() + plan.seconds
    for fault in plan.faults:
        mischief.begin(fault)
        told += [bad for one in traffic for bad in one.look()]
    mischief.join()
    goal = {client: len(client.answers) + AFTER for one in traffic for client in one.clients}
    deadline = max(time.monotonic(), enough) + LONGEST_S
    while (
        any(len(c.answers) < goal[c] for c in goal)
        or sum(one.answers for one in traffic) < frames
        or time.monotonic() < enough
    ):
        if time.monotonic() > deadline:
            slow = [c.name for c in goal if len(c.answers) < goal[c]]
            return [*told, *mischief.errors, f"{sum(o.answers for o in traffic)} answers in time; waiting: {slow}"]
        threading.Event().wait(0.1)
        told += [bad for one in traffic for bad in one.look()]
    return [*told, *mischief.errors]
