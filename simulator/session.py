"""A session's frames: they come in through the window, pass the handlers of the plan, and are answered.

come ▶ window (at most so many unanswered) ▶ entry's node ▶ handlers, queue by queue ▶ exits ▶ answer
    full: `live` drops the frame that waited, `lossless` has frames wait in a line of bounded length
A frame follows the plan it began with, so joins meet; after a loss the open frames are sent again on the new plan.
"""

from collections import deque
from collections.abc import Callable

from simulator.loop import Loop
from simulator.network import Network
from simulator.node import Item, Process
from simulator.shape import Shape
from simulator.tally import Tally
from wire.messages import Delivery


class Plan:
    """Where each handler of a session runs. accepted: its frames are still welcome."""

    __slots__ = ("accepted", "entry", "meeting", "routes", "shape")

    def __init__(self, shape: Shape, entry: int, routes: dict[int, list[Process]]) -> None:
        self.shape, self.entry, self.routes = shape, entry, routes
        self.accepted = True
        self.meeting: dict[tuple[int, int], int] = {}  # (handler, sequence) -> inputs that are there

    def nodes(self) -> set[int]:
        """Return every node that holds a part."""
        return {p.node.node_id for places in self.routes.values() for p in places} | {self.entry}


class Session:
    """The entry's side of a session. opened: sequence -> when the frame came, s."""

    def __init__(
        self, loop: Loop, network: Network, tally: Tally, *, delivery: Delivery, window: int, waiting: int
    ) -> None:
        self._loop, self._network, self.tally = loop, network, tally
        self._live, self.window = delivery is Delivery.LIVE, window
        self._limit = 1 if self._live else waiting
        self._line: deque[tuple[int, float]] = deque()
        self._parts: dict[int, int] = {}  # sequence -> exits that have spoken
        self.opened: dict[int, float] = {}
        self.plan: Plan | None = None

    def come(self, sequence: int) -> None:
        """A client posts a frame."""
        now = self._loop.now
        self.tally.come(now)
        if self.plan is not None and len(self.opened) < self.window and not self._line:
            self._open(sequence, now)
            return
        if len(self._line) >= self._limit:
            if not self._live or not self._limit:
                self.tally.drop("full")
                return
            self._line.popleft()
            self.tally.drop("late")
        self._line.append((sequence, now))

    @property
    def in_flight(self) -> int:
        """Frames that came and are neither delivered nor dropped."""
        return len(self.opened) + len(self._line)

    def follow(self, plan: Plan) -> None:
        """Take *plan* for the frames that come; those that are open end on the old one."""
        self.plan = plan
        self._admit()

    def replace(self, plan: Plan, *, entry_lost: bool) -> None:
        """Take *plan* after a loss: what is on its way is refused, and sent again, or lost with the entry."""
        if self.plan is not None:
            self.plan.accepted = False
        self.plan = plan
        self._parts.clear()
        if entry_lost:
            self.lose()
        for sequence in list(self.opened):
            self._send_in(sequence, plan)
        self._admit()

    def lose(self, why: str = "entry_lost") -> None:
        """Drop the open frames."""
        for _ in self.opened:
            self.tally.drop(why)
        self.opened.clear()

    def suspend(self) -> None:
        """The entry is gone: frames wait for another plan."""
        if self.plan is not None:
            self.plan.accepted = False
        self.plan = None

    def end(self) -> None:
        """The client goes; what waits or is open goes with it."""
        self.suspend()
        self.lose("ended")
        for _ in self._line:
            self.tally.drop("ended")
        self._line.clear()

    def done(self, process: Process, item: Item) -> float:
        """Send on what *process* made; returns when it has its answers, s."""
        sequence, plan = item
        now = free = self._loop.now
        if not plan.accepted:
            return now
        here, handler, shape = process.node.node_id, process.handler, plan.shape
        for target, size in shape.out[handler]:
            to = self._route(plan.routes[target], sequence, joins=shape.joins[target] > 1)
            there, free = self._network.send(here, to.node.node_id, size, free)
            self._when(there, self._arrive, to, item)
        size = shape.exits.get(handler)
        if size is not None:
            there, free = self._network.send(here, plan.entry, size, free)
            self._when(there, self._result, sequence, plan)
        return free

    def _when(self, there: float, action: Callable[..., None], *args: object) -> None:
        if there > self._loop.now:
            self._loop.at(there, action, *args)
        else:
            action(*args)

    def _open(self, sequence: int, came: float) -> None:
        self.opened[sequence] = came
        if self.plan is not None:
            self._send_in(sequence, self.plan)

    def _send_in(self, sequence: int, plan: Plan) -> None:
        to = self._route(plan.routes[plan.shape.entry], sequence, joins=False)
        there, _ = self._network.send(plan.entry, to.node.node_id, plan.shape.input_bytes, self._loop.now)
        self._when(there, self._arrive, to, (sequence, plan))

    @staticmethod
    def _route(places: list[Process], sequence: int, *, joins: bool) -> Process:
        """Return the replica for a frame: the one with the fewest, in turn; joins go by the sequence."""
        count = len(places)
        if count == 1:
            return places[0]
        turn = sequence % count
        if joins:
            return places[turn]
        return min((*places[turn:], *places[:turn]), key=lambda p: p.outstanding)

    def _arrive(self, to: Process, item: Item) -> None:
        sequence, plan = item
        if not plan.accepted:
            return
        wanted = plan.shape.joins[to.handler]
        if wanted > 1:
            key = (to.handler, sequence)
            there = plan.meeting.get(key, 0) + 1
            if there < wanted:
                plan.meeting[key] = there
                return
            plan.meeting.pop(key, None)
        to.offer(item)

    def _result(self, sequence: int, plan: Plan) -> None:
        if sequence not in self.opened or not plan.accepted:
            return
        exits = len(plan.shape.exits)
        if exits > 1:
            spoken = self._parts.get(sequence, 0) + 1
            if spoken < exits:
                self._parts[sequence] = spoken
                return
            self._parts.pop(sequence, None)
        self.tally.deliver(self.opened.pop(sequence), self._loop.now, plan.shape.accuracy)
        self._admit()

    def _admit(self) -> None:
        while self._line and len(self.opened) < self.window and self.plan is not None:
            self._open(*self._line.popleft())
