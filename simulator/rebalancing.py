"""Sessions that would be better off elsewhere, moved by the coordinator's own rule (coordinator.rebalance)."""

from collections.abc import Callable, Iterable

from coordinator import rebalance
from coordinator.allocation.base import Request, Unplaceable
from simulator import asking
from simulator.carrying import Carrier
from simulator.deciding import Decider
from simulator.held import Held, State
from simulator.scenario import Control
from wire.messages import Books, NodeSession, Running

AT_ONCE = 2  # sessions looked at for a better place in a period, the worst off first
LOOK_S, LOOK_AGAIN_S = 60.0, 10.0  # one that is well is looked at so seldom; one that misses its objective, or may gain
FRESH_S, LEAST_RESULTS, FPS_OVER_S = 10.0, 16, 5.0  # what figures are of, as node.gateway.outcomes has it


class Rebalancer:
    """moves: how many there were."""

    def __init__(self, settings: Control, decider: Decider, carrier: Carrier, ask: Callable[[Held], Request]) -> None:
        self._settings, self._decider, self._carrier, self._ask = settings, decider, carrier, ask
        self._looked: dict[int, float] = {}
        self.moves = 0

    def read(self, held: Held, now: float) -> None:
        """Take what the session's entry measured, and note since when a bound is broken."""
        held.results += [(now, latency) for latency in held.session.tally.take_recent()]
        fresh = sum(now - heard < FRESH_S for heard, _ in held.results)
        held.results = held.results[-max(fresh, LEAST_RESULTS) :]
        held.fps = sum(now - heard < FPS_OVER_S for heard, _ in held.results) / FPS_OVER_S
        wants = asking.objective(held, self._settings)
        held.fault = rebalance.measured_fault(wants, _reported(held), held.clients.window, held.dropped_lately())
        if held.fault is None:
            held.broken_since = None
        elif held.broken_since is None:
            held.broken_since = now

    def look(self, sessions: Iterable[Held], now: float) -> None:
        """Look for better places: for those whose objective is missed first, for the others now and then."""
        may = [h for h in sessions if h.state is State.RUNNING and h.pending is None]
        may = [h for h in may if rebalance.pause_s(tuple(now - t for t in h.moves)) <= 0]
        due = [h for h in may if now - self._looked.setdefault(h.number, now - LOOK_AGAIN_S) >= self._wait_s(h)]
        due.sort(key=lambda h: (h.broken_since is None, -h.clients.priority, h.broken_since or 0.0, h.number))
        for held in due[:AT_ONCE]:
            self._looked[held.number] = now
            self._better(held, now)

    @staticmethod
    def _wait_s(held: Held) -> float:
        return LOOK_S if held.broken_since is None and held.better_since is None else LOOK_AGAIN_S

    def _better(self, held: Held, now: float) -> None:
        assert held.placement is not None  # noqa: S101 - it runs
        request = self._ask(held)
        try:
            decision = self._decider.decide(held, asking.unbound(request), held.placement)
        except Unplaceable:
            return
        situation = rebalance.Situation(
            now=self._decider.predict(held, request),
            fault=held.fault,
            broken_s=0.0 if held.broken_since is None else now - held.broken_since,
            better_s=0.0 if held.better_since is None else now - held.better_since,
            fps=held.fps or 0.0,
            moved_s_ago=tuple(now - t for t in held.moves),
        )
        count = asking.moved(held.placement, decision.placement)
        verdict = rebalance.judge(situation, decision.predicted, count, request.objective)
        if not verdict.better:
            held.better_since = None
        elif held.better_since is None:
            held.better_since = now
        if verdict.move and self._carrier.begin(held, decision):
            held.moves.append(now)
            held.results.clear()
            held.better_since = None
            self.moves += 1


def _reported(held: Held) -> NodeSession:
    """Return what the session's entry would report."""
    ordered = sorted(latency for _, latency in held.results)
    latencies = {"p95": 1000 * ordered[int(0.95 * (len(ordered) - 1))]} if ordered else {}
    return NodeSession(
        session_id=held.number,
        epoch=0,
        state=Running.RUNNING,
        entry=True,
        books=Books(in_flight=len(held.session.opened)),
        latency_ms=latencies,
        fps=held.fps,
    )
