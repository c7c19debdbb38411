"""The nodes that are known, and which of them are up. In memory, no I/O; clock readings are given by the caller.

A node is up while its heartbeats come, to this coordinator or to one that tells of them through the database. One
whose heartbeats stay away is looked at (coordinator/probes.py): while it answers it stays up for VOUCHED_S more, since
it may be on its way here from a coordinator that died. Only judge() calls a silent one down, so that a coordinator that
was itself stalled can forgive() first. Monotonic times (s) judge, wall times (s since the epoch) are shown and kept in
the database.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from coordinator.accounts import LastBooks
from coordinator.records import Cordon, NodeRecord, replace
from coordinator.snapshot import NodeStatus
from wire.messages import Heartbeat

VOUCHED_S = 10.0  # its answers stand for heartbeats so long: a node tries each of its coordinators for 2 s


class NodeState(StrEnum):
    """What GET /nodes says."""

    UP, DOWN, CORDONED, DRAINING = "up", "down", "cordoned", "draining"


class NotRegistered(LookupError):
    """No such node, or one that no file names while auto_register is off."""


@dataclass(slots=True)
class _Entry:
    record: NodeRecord
    heard: float  # monotonic s; or since when it is waited for
    down: bool = False
    answered: float = float("-inf")  # monotonic s: to one who looked
    told: bool = False  # heard by another process, which says so through the database

    @property
    def lived(self) -> float:
        """When it gave the last sign of life that counts (monotonic s)."""
        return max(self.heard, min(self.answered, self.heard + VOUCHED_S))


class Registry:
    """Thread-safe. known: node ids of the node files; with auto_register off no others are taken."""

    def __init__(self, known: Iterable[int], *, timeout: float, auto_register: bool) -> None:
        self._known, self._timeout, self._auto = frozenset(known), timeout, auto_register
        self._entries: dict[int, _Entry] = {}
        self.books = LastBooks()
        self._lock = threading.Lock()
        self._merged = float("-inf")  # monotonic s: the last word of other processes
        self._doubtful: set[int] = set()  # nodes that others could not reach
        self.doubts = threading.Event()  # set when there are new ones

    def heard(self, beat: Heartbeat, mono: float, wall: float) -> None:
        """Note a heartbeat. Raises NotRegistered."""
        if not self._auto and beat.node_id not in self._known:
            raise NotRegistered(f"node {beat.node_id} is in no node file, and auto_register is off")
        with self._lock:
            entry = self._entries.get(beat.node_id)
            cordoned = entry.record.cordoned if entry else Cordon.OPEN
            record = NodeRecord(node_id=beat.node_id, heartbeat=beat, last_seen=wall, cordoned=cordoned)
            self._entries[beat.node_id] = _Entry(record, mono, down=beat.leaving)
        self.books.hear(beat)
        if beat.unreachable:
            self.doubt(beat.unreachable)

    def merge(self, records: Iterable[NodeRecord], mono: float) -> None:
        """Take what the database knows and this process has not heard: of its former life, or of another process.

        After a time without the database the others have theirs first to say what they heard meanwhile.
        """
        with self._lock:
            gap, self._merged = mono - self._merged > self._timeout, mono
            for told in (e for e in self._entries.values() if gap and e.told and not e.down):
                told.heard = mono
            for record in records:
                entry = self._entries.get(record.node_id)
                if entry is None or entry.record.last_seen < record.last_seen:
                    self._entries[record.node_id] = _Entry(record, mono, down=record.heartbeat.leaving, told=True)
                    self.books.hear(record.heartbeat)
                else:
                    entry.record = replace(entry.record, cordoned=record.cordoned)

    def forgive(self, mono: float) -> None:
        """Give every node that is up its whole time-out again: it was us who did not listen."""
        with self._lock:
            for entry in self._entries.values():
                if not entry.down:
                    entry.heard = mono

    def judge(self, mono: float) -> list[int]:
        """Call down the nodes that gave no sign of life for too long and return them. Those of which others tell are
        judged by the time of the last word: while the database is away nobody tells.
        """
        with self._lock:
            until = {False: mono, True: min(mono, self._merged)}
            late = [e for e in self._entries.values() if not e.down and until[e.told] - e.lived > self._timeout]
            for entry in late:
                entry.down = True
            return [e.record.node_id for e in late]

    def doubt(self, node_ids: Iterable[int]) -> None:
        """Somebody could not reach these nodes: they are worth a look."""
        with self._lock:
            self._doubtful |= set(node_ids)
        self.doubts.set()

    def doubtful(self, mono: float, late: float) -> list[tuple[int, str, float]]:
        """Return node_id, control URL and when it was heard (s) of the nodes, not down, that others could not reach
        since the last call, or that gave no sign of life for *late* seconds.
        """
        with self._lock:
            doubtful, self._doubtful = self._doubtful, set()
            return [
                (n, e.record.heartbeat.control_url, e.heard)
                for n, e in self._entries.items()
                if not e.down and (n in doubtful or mono - e.lived > late)
            ]

    def answered(self, node_id: int, mono: float) -> None:
        """Note that a node answered a look that began at *mono*."""
        with self._lock:
            entry = self._entries[node_id]
            entry.answered = max(entry.answered, mono)

    def call_down(self, node_id: int, heard: float) -> bool:
        """Call a node down unless it was heard after *heard*; returns whether it is news."""
        with self._lock:
            entry = self._entries[node_id]
            news = not entry.down and entry.heard == heard
            entry.down = entry.down or news
            return news

    def set_cordon(self, node_id: int, cordon: Cordon) -> None:
        """Change whether the node takes new handlers. Raises NotRegistered."""
        with self._lock:
            if node_id not in self._entries:
                raise NotRegistered(f"node {node_id} has never been heard")
            entry = self._entries[node_id]
            entry.record = replace(entry.record, cordoned=cordon)

    def records(self) -> list[NodeRecord]:
        """Return all nodes ever heard, by id."""
        with self._lock:
            return [self._entries[n].record for n in sorted(self._entries)]

    def known(self, node_id: int) -> bool:
        """Return True for a node that was heard or that a file names."""
        with self._lock:
            return node_id in self._entries or node_id in self._known

    def state(self, node_id: int) -> NodeState:
        """Return the node's state; one never heard is down."""
        with self._lock:
            return self._state(node_id)

    def status(self) -> dict[int, NodeStatus]:
        """Return every heard node with its heartbeat and, when it takes no new handlers, why."""
        with self._lock:
            return {
                n: NodeStatus(heartbeat=e.record.heartbeat, refuses=self._refuses(n)) for n, e in self._entries.items()
            }

    def alive(self) -> dict[int, Heartbeat]:
        """Return the latest heartbeat of each node that is not down."""
        with self._lock:
            return {n: e.record.heartbeat for n, e in self._entries.items() if not e.down}

    def _state(self, node_id: int) -> NodeState:
        entry = self._entries.get(node_id)
        if entry is None or entry.down:
            return NodeState.DOWN
        states = {Cordon.CORDONED: NodeState.CORDONED, Cordon.DRAINING: NodeState.DRAINING}
        return states.get(entry.record.cordoned, NodeState.UP)

    def _refuses(self, node_id: int) -> str | None:
        state, entry = self._state(node_id), self._entries[node_id]
        if state is NodeState.DOWN and entry.record.heartbeat.leaving:
            return "is shutting down"
        return None if state is NodeState.UP else f"is {state}"
