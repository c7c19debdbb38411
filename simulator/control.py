"""The coordinator on the simulated clock: it samples, judges nodes, places, repairs and rebalances each period."""

from contextlib import suppress

from coordinator.allocation.base import Decision, Placement, Request, Unplaceable
from simulator import asking
from simulator.carrying import Carrier, used
from simulator.deciding import Decider
from simulator.held import Held, State
from simulator.rebalancing import Rebalancer
from simulator.telemetry import Telemetry
from simulator.world import World

BACK_OFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
AGAIN_S = 1.0  # until a client whose nodes did not answer asks once more


class Controller:
    """repairs: of sessions that had lost a node."""

    def __init__(self, world: World, algorithm: str, held: dict[int, Held]) -> None:
        self._world, self._held, self._settings = world, held, world.scenario.control
        self._telemetry, self._carrier = Telemetry(world), Carrier(world)
        self.decider = Decider(self._telemetry, algorithm, held)
        self._lost_at: dict[int, float] = {}
        self.rebalancer = Rebalancer(self._settings, self.decider, self._carrier, self._again)
        self.repairs = 0

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
        self.decider.forget()
        self._judge_nodes(now)
        for held in self._held.values():
            if held.state is State.RUNNING:
                self._carrier.settle(held)
                self.rebalancer.read(held, now)
        self._repair(now)
        if self._settings.rebalance:
            self.rebalancer.look(self._held.values(), self.decider.nodes(), now)

    def open(self, held: Held) -> None:
        """A client asks for its session."""
        if held.state not in (State.STARTING, State.REFUSED):
            return
        decision = self._admitted(held)
        if decision is not None and self._carrier.begin(held, decision):
            return
        if decision is not None:
            self._probe(decision.placement)
        held.state = State.REFUSED
        held.refusals += 1
        if self._settings.retry_s is not None:
            wait = self._settings.retry_s if decision is None else AGAIN_S
            self._world.loop.at(self._world.loop.now + wait, self.open, held)

    def node_lost(self, node_id: int) -> None:
        """Sessions whose entry is there have no gateway any more."""
        self._lost_at[node_id] = self._world.loop.now
        for held in self._held.values():
            if held.session.plan is not None and held.session.plan.entry == node_id:
                held.session.suspend()

    def _seed(self, held: Held) -> int:
        return (self._world.seed * 1_000_003 + held.number * 7919 + held.attempt * 104_729 + held.refusals) % 2**31

    def _admitted(self, held: Held) -> Decision | None:
        """Return a place for a new session; without admission it is had even where it will miss its objective."""
        request = asking.new(held, self._world.variants[held.clients.service], self._settings, self._seed(held))
        try:
            if self._settings.admission:
                return self.decider.admit(held, request)
            return self.decider.decide(held, asking.unbound(request))
        except Unplaceable:
            return None

    def _judge_nodes(self, now: float) -> None:
        for n, node in self._world.nodes.items():
            if not node.up and now - self._lost_at.get(n, now) >= self._settings.heartbeat_timeout_s:
                self.decider.down.setdefault(n, "is down")
            elif node.up:
                self.decider.down.pop(n, None)

    def _probe(self, placement: Placement) -> None:
        """A refused connection shows at once that a node is down."""
        for n in placement.used():
            if not self._world.nodes[n].up:
                self.decider.down[n] = "is down"
                self.decider.forget()

    def _repair(self, now: float) -> None:
        for held in self._held.values():
            if held.state is State.ENDED or (held.placement is None and held.pending is None):
                continue
            nodes = used(held.placement) if held.pending is None else set(held.pending)
            lost = {n for n in nodes if n in self.decider.down} | self._restarted(held)
            if lost and now >= held.again and held.placement is None:  # its first nodes went while models loaded
                held.pending, held.promised, held.state = None, None, State.REFUSED
                held.attempt += 1
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
        assert held.placement is not None  # noqa: S101 - see _repair
        request, stands = asking.repair(self._again(held), held.placement, lost)
        decision: Decision | None = None
        with suppress(Unplaceable):
            decision = self.decider.replacement(held, request, stands)
        if decision is not None and self._carrier.begin(held, decision):
            self.repairs += 1
            held.tried, held.again = 0, now
            return
        if decision is not None:
            self._probe(decision.placement)
        held.again = now + BACK_OFF_S[min(held.tried, len(BACK_OFF_S) - 1)]
        held.tried += 1

    def _again(self, held: Held) -> Request:
        """Return what is asked for a session that has its variant."""
        assert held.variant is not None  # noqa: S101 - it was placed
        return asking.new(held, (held.variant,), self._settings, self._seed(held))
