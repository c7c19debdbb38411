"""The coordinator on the simulated clock: it samples, judges nodes, places, repairs and rebalances each period."""

import time
from collections.abc import Iterable

from coordinator import rebalance
from coordinator.allocation import load_algorithms
from coordinator.allocation.base import Decision, Placement, Predicted, Request, Snapshot, Unplaceable
from coordinator.allocation.decide import decide
from coordinator.allocation.objective import missed
from coordinator.allocation.predict import predict
from simulator import asking
from simulator.carrying import Carrier, used
from simulator.held import Held, State
from simulator.telemetry import Telemetry
from simulator.world import World

replace = asking.replace
AT_ONCE = 4  # sessions looked at for a better place in a period, the worst off first
LOOK_S = 10.0  # a session that is well is looked at so seldom
BACK_OFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)


class Controller:
    """decisions: wall seconds of each decision (the only figure that is not simulated)."""

    def __init__(self, world: World, algorithm: str, held: dict[int, Held]) -> None:
        self._world, self._held, self._settings = world, held, world.scenario.control
        self._default, self._algorithms = algorithm, load_algorithms({})
        self._telemetry, self._carrier = Telemetry(world), Carrier(world)
        self._down: dict[int, str] = {}  # noticed
        self._lost_at: dict[int, float] = {}
        self._looked: dict[int, float] = {}
        self._known: Snapshot | None = None
        self.decisions: list[float] = []
        self.moves, self.repairs = 0, 0

    def tick(self) -> None:
        """Do what is done each period, and have the next one come."""
        now = self._world.loop.now
        self._world.loop.at(now + self._settings.period_s, self.tick)
        self._telemetry.sample(
            (p, *h.works[handler])
            for h in self._held.values()
            for (handler, _), p in h.processes.items()
            if handler in h.works and p.alive
        )
        self._known = None
        self._judge_nodes(now)
        self._read(now)
        self._repair(now)
        if self._settings.rebalance:
            self._rebalance(now)

    def open(self, held: Held) -> None:
        """A client asks for its session."""
        now = self._world.loop.now
        if held.state not in (State.STARTING, State.REFUSED):
            return
        variants = self._world.variants[held.clients.service]
        decision = self._first(
            held, (asking.new(held, variants, self._settings, self._seed(held), bounds=b) for b in self._bounds())
        )
        if decision is not None and self._carrier.begin(held, decision):
            return
        if decision is not None:
            self._probe(decision.placement)
        held.state = State.REFUSED
        held.refusals += 1
        if self._settings.retry_s is not None:
            self._world.loop.at(now + (self._settings.retry_s if decision is None else 1.0), self.open, held)

    def node_lost(self, node_id: int) -> None:
        """Sessions whose entry is there have no gateway any more."""
        self._lost_at[node_id] = self._world.loop.now
        for held in self._held.values():
            if held.session.plan is not None and held.session.plan.entry == node_id:
                held.session.suspend()

    def _bounds(self) -> tuple[bool, ...]:
        return (True,) if self._settings.bounds else (True, False)

    def _seed(self, held: Held) -> int:
        return (self._world.seed * 1_000_003 + held.number * 7919 + held.attempt * 104_729 + held.refusals) % 2**31

    def _first(self, held: Held, requests: Iterable[Request], current: Placement | None = None) -> Decision | None:
        for request in requests:
            try:
                return self._decide(held, request, current)
            except Unplaceable:
                continue
        return None

    def _decide(self, held: Held, request: Request, current: Placement | None) -> Decision:
        """Raises Unplaceable."""
        name = held.clients.algorithm or self._default
        snapshot = self._snapshot()
        begun = time.perf_counter()
        try:
            return decide(self._algorithms[name], request, snapshot, current)
        finally:
            self.decisions.append(time.perf_counter() - begun)

    def _snapshot(self) -> Snapshot:
        if self._known is None:
            self._known = self._telemetry.snapshot(self._down, asking.placements(self._held))
        return self._known

    def _judge_nodes(self, now: float) -> None:
        for n, node in self._world.nodes.items():
            if not node.up and now - self._lost_at.get(n, now) >= self._settings.heartbeat_timeout_s:
                self._down.setdefault(n, "is down")
            elif node.up:
                self._down.pop(n, None)

    def _probe(self, placement: Placement) -> None:
        """A refused connection shows at once that a node is down."""
        for n in placement.used():
            if not self._world.nodes[n].up:
                self._down[n] = "is down"
                self._known = None

    def _read(self, now: float) -> None:
        """Take what sessions measured, and note since when an objective is missed."""
        for held in self._held.values():
            if held.state is not State.RUNNING:
                continue
            self._carrier.settle(held)
            recent = held.session.tally.take_recent()
            held.latencies = (held.latencies + recent)[-100:] if recent else held.latencies
            if self._misses(held):
                held.broken_since = now if held.broken_since is None else held.broken_since
            else:
                held.broken_since = None

    def _misses(self, held: Held) -> bool:
        return missed(held.clients.objective, self._measured(held)) is not None

    def _measured(self, held: Held) -> Predicted:
        """Return the session's figures: p50 of the last results, or what was predicted."""
        assert held.predicted is not None  # noqa: S101 - a session that runs was decided on
        if not held.latencies:
            return held.predicted
        ordered = sorted(held.latencies)
        return replace(held.predicted, latency_ms=ordered[len(ordered) // 2] * 1000, basis="measured")

    def _repair(self, now: float) -> None:
        for held in self._held.values():
            if held.state is State.ENDED or (held.placement is None and held.pending is None):
                continue
            nodes = used(held.placement) if held.pending is None else set(held.pending)
            lost = {n for n in nodes if n in self._down} | self._restarted(held)
            if lost and now >= held.again and held.placement is None:  # its first nodes went while models loaded
                held.pending, held.attempt, held.state = None, held.attempt + 1, State.REFUSED
                self.open(held)
            elif lost and now >= held.again:
                self._mend(held, lost, now)

    def _restarted(self, held: Held) -> set[int]:
        """Return the nodes that lost their processes, and are back."""
        plan = held.session.plan
        if held.pending is not None:
            return {n for n, boot in held.pending.items() if boot != self._world.nodes[n].boots}
        if held.placement is None:
            return set()
        if plan is None:
            return {held.placement.entry_node}
        return {p.node.node_id for places in plan.routes.values() for p in places if not p.alive and p.node.up}

    def _mend(self, held: Held, lost: set[int], now: float) -> None:
        held.state = State.DEGRADED
        assert held.placement is not None and held.variant is not None  # noqa: S101
        requests = []
        for bounds in self._bounds():
            asked = asking.new(held, (held.variant,), self._settings, self._seed(held), bounds=bounds)
            requests.append(asking.repair(asked, held.placement, lost)[0])
        whole = asking.repair(requests[0], held.placement, lost)[1]
        decision = self._first(held, requests, whole)
        if decision is not None and self._carrier.begin(held, decision):
            self.repairs += 1
            held.tried, held.again = 0, now
            return
        if decision is not None:
            self._probe(decision.placement)
        held.again = now + BACK_OFF_S[min(held.tried, len(BACK_OFF_S) - 1)]
        held.tried += 1

    def _rebalance(self, now: float) -> None:
        """Look for better places: for those whose objective is missed first, for the others now and then."""
        running = [h for h in self._held.values() if h.state is State.RUNNING and h.pending is None]
        broken = [h for h in running if h.broken_since is not None and now - h.broken_since >= rebalance.PATIENCE_S]
        broken.sort(key=lambda h: (-h.clients.priority, h.broken_since, h.number))
        well = [
            h for h in running if h.broken_since is None and now - self._looked.get(h.number, now - LOOK_S) >= LOOK_S
        ]
        for held in [*broken, *well][:AT_ONCE]:
            self._looked[held.number] = now
            self._better(held, now)

    def _better(self, held: Held, now: float) -> None:
        """Move the session where rebalance.judge finds it worth while."""
        assert held.placement is not None and held.variant is not None  # noqa: S101
        request = asking.new(held, (held.variant,), self._settings, self._seed(held), bounds=False)
        try:
            decision = self._decide(held, request, held.placement)
        except Unplaceable:
            return
        here = self._here(held, request)
        situation = rebalance.Situation(
            objective=held.clients.objective,
            now=here,
            broken_s=0.0 if held.broken_since is None else now - held.broken_since,
            moved_s_ago=tuple(now - t for t in held.moves),
        )
        count = asking.moved(held.placement, decision.placement)
        if not rebalance.judge(situation, decision.predicted, count).move:
            return
        if self._carrier.begin(held, decision):
            held.moves.append(now)
            held.latencies.clear()
            self.moves += 1

    def _here(self, held: Held, request: Request) -> Predicted:
        """Return how it is where it is: measured when the objective is missed, else by the same model as elsewhere."""
        assert held.placement is not None and held.variant is not None  # noqa: S101
        if held.broken_since is not None:
            return self._measured(held)
        return predict(held.variant, held.placement, self._snapshot(), request)
