"""A node: handler processes that share its cores.

Each process does one frame at a time, first come first served. Processes that compute share the cores evenly, as a
fair scheduler has it: with k of them on c cores each runs at speed * min(1, c / k). That rate is the same for all, so
one virtual clock per node is enough (as in fair queueing, Parekh and Gallager 1993): a piece of work of w seconds that
begins at virtual time V ends at V + w, however often the rate changes.
"""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Protocol

from simulator.loop import Loop

NEVER = float("inf")


class Worker(Protocol):
    """What a node runs."""

    def computed(self) -> None:
        """The piece of work is done."""


class Node:
    """Cores, and the work that is on them now."""

    def __init__(self, loop: Loop, node_id: int, cpus: int, speed: float = 1.0) -> None:
        self.node_id, self.cpus, self.speed = node_id, cpus, speed
        self.up = True
        self.boots = 0
        self.core_seconds = 0.0  # of cores kept busy so far, see settle()
        self.up_seconds = 0.0
        self._loop = loop
        self._virtual = 0.0  # s of work that each process could have done
        self._since = 0.0  # s, when _virtual was true
        self._rate = speed
        self._heap: list[tuple[float, int, Worker]] = []  # virtual end, serial, whose
        self._serial = 0
        self._ticket = 0  # of the ending that is awaited; older ones are stale
        self._due = NEVER
        self._ending = False  # a piece of work ends now: what that begins is looked at once it is through

    def begin(self, worker: Worker, work_s: float) -> None:
        """Compute *work_s* seconds of a core at speed 1 for *worker*, then call its computed()."""
        self.settle()
        self._serial += 1
        heappush(self._heap, (self._virtual + work_s, self._serial, worker))
        if not self._ending:
            self._await()

    def settle(self) -> None:
        """Bring the accounts up to now."""
        now = self._loop.now
        passed = now - self._since
        if passed > 0:
            self._since = now
            self._virtual += passed * self._rate
            if self.up:
                self.up_seconds += passed
                busy = len(self._heap)
                self.core_seconds += passed * (busy if busy < self.cpus else self.cpus)

    def change_speed(self, speed: float) -> None:
        """From now on compute at *speed*."""
        self.settle()
        self.speed = speed
        self._await(force=True)

    def fail(self) -> None:
        """Lose all work, and take none."""
        self.settle()
        self.up = False
        self._heap.clear()
        self._await(force=True)

    def recover(self) -> None:
        """Be back, empty, as another boot."""
        self.settle()
        self.up = True
        self.boots += 1

    def _await(self, *, force: bool = False) -> None:
        """Have the next ending happen at its time; the one awaited so far may still be right."""
        heap = self._heap
        busy = len(heap)
        rate = self.speed if busy <= self.cpus else self.speed * self.cpus / busy
        self._rate = rate
        if not busy:
            self._due, self._ticket = NEVER, self._ticket + 1
            return
        due = self._since + (heap[0][0] - self._virtual) / rate
        if force or abs(due - self._due) > 1e-12:
            self._due, self._ticket = due, self._ticket + 1
            self._loop.at(max(due, self._loop.now), self._end, self._ticket)

    def _end(self, ticket: int) -> None:
        if ticket != self._ticket:
            self._loop.stale += 1
            return
        self.settle()
        self._due, self._ending = NEVER, True
        heappop(self._heap)[2].computed()
        self._ending = False
        self._await()


Item = tuple[int, Any]  # sequence of the frame, the plan that it follows


class Process:
    """A handler's process on a node: a queue and the frame it works on.

    work: (sequence) -> s of a core; done: (process, item) -> when the process may go on, s (it waits for its sends).
    """

    __slots__ = (
        "_boot",
        "_done",
        "_item",
        "_loop",
        "_started",
        "_work",
        "busy",
        "frames",
        "handler",
        "node",
        "queue",
        "wall_s",
    )

    def __init__(
        self,
        loop: Loop,
        node: Node,
        handler: int,
        work: Callable[[int], float],
        done: Callable[["Process", Item], float],
    ) -> None:
        self.node, self.handler = node, handler
        self.queue: deque[Item] = deque()
        self.busy = False
        self.frames, self.wall_s = 0, 0.0  # since they were last read
        self._loop, self._work, self._done = loop, work, done
        self._boot = node.boots
        self._item: Item = (-1, None)
        self._started = 0.0

    @property
    def alive(self) -> bool:
        """False when its node was lost, even when that is back."""
        return self.node.up and self._boot == self.node.boots

    @property
    def outstanding(self) -> int:
        """How many frames are here."""
        return len(self.queue) + self.busy

    def offer(self, item: Item) -> None:
        """Take a frame in; what comes to a node that is down is lost."""
        if not self.alive:
            return
        if self.busy:
            self.queue.append(item)
        else:
            self.busy = True
            self._begin(item)

    def computed(self) -> None:
        """Count the frame, send on what came of it, and take the next."""
        now = self._loop.now
        self.frames += 1
        self.wall_s += now - self._started
        free = self._done(self, self._item)
        if free > now:
            self._loop.at(free, self._next)
        else:
            self._next()

    def _next(self) -> None:
        if not self.alive:
            return
        queue = self.queue
        while queue:
            item = queue.popleft()
            if item[1].accepted:
                self._begin(item)
                return
        self.busy = False

    def _begin(self, item: Item) -> None:
        self._item, self._started = item, self._loop.now
        self.node.begin(self, self._work(item[0]))

    def take(self) -> tuple[int, float]:
        """Return frames and s of wall time since the last call."""
        taken = self.frames, self.wall_s
        self.frames, self.wall_s = 0, 0.0
        return taken
