"""One run of a scenario: one algorithm, one seed."""

import time
from collections.abc import Callable, Iterator

from simulator.control import Controller
from simulator.draws import generator
from simulator.held import Held, State
from simulator.results import Result, collect
from simulator.scenario import Clients, Scenario
from simulator.session import Session
from simulator.tally import Tally
from simulator.world import World

DRAIN_S = 10.0  # frames that came before the end may still be answered for so long
FAULTS = 5  # a stream
STEPS = 100  # of the progress

Progress = Callable[[float], None]  # share that is done, 0-1


class Run:
    """Everything of one run; run() once."""

    def __init__(self, scenario: Scenario, algorithm: str, seed: int) -> None:
        self._scenario, self._algorithm, self._seed = scenario, algorithm, seed
        self.world = World(scenario, seed)
        self.held: dict[int, Held] = {}
        self.controller = Controller(self.world, algorithm, self.held)
        for clients in scenario.sessions:
            self._invite(clients)
        self._plan_faults()
        self.world.loop.at(0.0, self.controller.tick)

    def run(self, progress: Progress | None = None) -> Result:
        """Return the figures."""
        loop, end, begun = self.world.loop, self._scenario.duration_s, time.process_time()
        for step in range(1, STEPS + 1):
            loop.run(end * step / STEPS)
            if progress:
                progress(step / STEPS)
        for node in self.world.nodes.values():
            node.settle()
        energy = {n: (node.up_seconds, node.core_seconds) for n, node in self.world.nodes.items()}
        loop.run(end + DRAIN_S)
        took = time.process_time() - begun
        return collect(
            self._scenario, self._algorithm, self._seed, self.world, self.held, self.controller, energy, took
        )

    def _invite(self, clients: Clients) -> None:
        """Have each of the sessions asked for at its time."""
        world, scenario = self.world, self._scenario
        homes = [n for n, m in world.machines.items() if m.zone == clients.entry_zone]
        for i in range(clients.count):
            number, begin = len(self.held), clients.start_s + i * clients.every_s
            tally = Tally(None, scenario.warmup_s)
            session = Session(
                world.loop, world.network, tally,
                delivery=clients.delivery, window=clients.window, waiting=clients.waiting,
            )  # fmt: skip
            home = homes[i % len(homes)] if clients.entry_zone is not None else None
            held = self.held[number] = Held(number, clients, session, home)
            tally.limit_s = float("inf") if held.limit_s is None else held.limit_s
            if begin < scenario.duration_s:
                end = (
                    scenario.duration_s if clients.last_s is None else min(scenario.duration_s, begin + clients.last_s)
                )
                world.loop.at(begin, self.controller.open, held)
                self._next(held, world.arrivals(number, clients, begin, end))
                if end < scenario.duration_s:
                    world.loop.at(end, self._leave, held)

    def _next(self, held: Held, times: Iterator[float]) -> None:
        time = next(times, None)
        if time is not None:
            self.world.loop.at(time, self._frame, held, times)

    def _frame(self, held: Held, times: Iterator[float]) -> None:
        """A frame comes: to the session, or to nobody. While the first models load its client does not begin."""
        sequence, held.sequence = held.sequence, held.sequence + 1
        if held.state is State.REFUSED:
            held.session.tally.come(self.world.loop.now)
            held.session.tally.drop("refused")
        elif held.state is not State.STARTING:
            held.session.come(sequence)
        self._next(held, times)

    def _leave(self, held: Held) -> None:
        held.session.end()
        held.state, held.placement, held.pending, held.promised = State.ENDED, None, None, None
        held.processes.clear()

    def _plan_faults(self) -> None:
        loop = self.world.loop
        for fault in self._scenario.faults:
            begin, undo = (self._lose, self._recover) if fault.slow is None else (self._slow, self._restore)
            loop.at(fault.at_s, begin, fault.node, fault.slow)
            if fault.last_s is not None:
                loop.at(fault.at_s + fault.last_s, undo, fault.node, None)
        churn = self._scenario.churn
        if churn is not None:
            draw, at, nodes = generator(self._seed, FAULTS), churn.every_s / 2, sorted(self.world.nodes)
            while at < self._scenario.duration_s:
                node = nodes[int(draw.integers(len(nodes)))]
                loop.at(at, self._lose, node, None)
                loop.at(at + churn.down_s, self._recover, node, None)
                at += churn.every_s

    def _lose(self, node_id: int, _: float | None) -> None:
        if self.world.nodes[node_id].up:
            self.world.nodes[node_id].fail()
            self.controller.node_lost(node_id)

    def _recover(self, node_id: int, _: float | None) -> None:
        if not self.world.nodes[node_id].up:
            self.world.nodes[node_id].recover()

    def _slow(self, node_id: int, factor: float | None) -> None:
        self.world.nodes[node_id].change_speed(self.world.machines[node_id].speed * (factor or 1.0))

    def _restore(self, node_id: int, _: float | None) -> None:
        self.world.nodes[node_id].change_speed(self.world.machines[node_id].speed)
