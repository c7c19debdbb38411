"""Sessions that would be better off elsewhere, moved by the coordinator's own rules: coordinator.watch says when to
look, coordinator.elsewhere where to, coordinator.rebalance whether it is worth it.
"""

from collections.abc import Callable, Iterable, Mapping

from coordinator import rebalance
from coordinator.allocation.base import NodeView, Request, Unplaceable
from coordinator.overload import Overload
from coordinator.watch import LOOK_S, LOOKS, MOVES, Watch
from simulator import asking
from simulator.carrying import Carrier
from simulator.deciding import Decider
from simulator.held import Held, State
from simulator.scenario import Control
from wire.messages import Books, NodeSession, Running

FRESH_S, LEAST_RESULTS, FPS_OVER_S = 10.0, 16, 5.0  # what figures are of, as node.gateway.outcomes has it


class Rebalancer:
    """moves: how many there were."""

    def __init__(self, settings: Control, decider: Decider, carrier: Carrier, ask: Callable[[Held], Request]) -> None:
        self._settings, self._decider, self._carrier, self._ask = settings, decider, carrier, ask
        self._watches: dict[int, Watch] = {}
        self._overload = Overload()
        self.moves = 0

    def read(self, held: Held, now: float) -> None:
        """Take what the session's entry measured, and note since when a bound is broken."""
        held.results += [(now, latency) for latency in held.session.tally.take_recent()]
        fresh = sum(now - heard < FRESH_S for heard, _ in held.results)
        held.results = held.results[-max(fresh, LEAST_RESULTS) :]
        held.fps = sum(now - heard < FPS_OVER_S for heard, _ in held.results) / FPS_OVER_S
        wants, watch = asking.objective(held, self._settings), self._watch(held, now)
        dropped = watch.drops(held.session.tally.dropped.total())
        watch.see(rebalance.measured_fault(wants, _reported(held), held.clients.window, dropped), now)
        if watch.fault is not None:
            watch.hurry_when_broken(now)

    def look(self, sessions: Iterable[Held], nodes: Mapping[int, NodeView], now: float) -> None:
        """Look for better places: for those whose objective is missed first, for the others now and then."""
        running = [h for h in sessions if h.state is State.RUNNING]
        takers = [n for n, view in nodes.items() if view.refuses is None]
        self._overload.note({n: nodes[n].cpu_util for n in takers}, takers, now)
        for held in running:
            self._overload.hurry(self._watch(held, now), held.placement.used() if held.placement else (), now)
        if self._overload.nowhere:
            return
        moving = sum(h.pending is not None for h in running)
        due = [(h, w) for h in running if h.pending is None and (w := self._watch(h, now)).due(now)]
        due.sort(key=lambda d: (d[1].fault is None, d[1].next_look))
        for held, watch in due[:LOOKS]:
            pause = rebalance.pause_s(tuple(now - t for t in held.moves))
            if pause > 0:
                watch.next_look = now + min(pause, LOOK_S)
            else:
                moving += self._consider(held, watch, now, may=moving < MOVES)

    def _watch(self, held: Held, now: float) -> Watch:
        return self._watches.setdefault(held.number, Watch(next_look=now + LOOK_S))

    def _consider(self, held: Held, watch: Watch, now: float, *, may: bool) -> bool:
        """Judge another place; return True when the session moves there."""
        assert held.placement is not None  # noqa: S101 - it runs
        request = self._ask(held)
        try:
            before, decision = self._decider.better(held, request, broken=watch.fault is not None)
        except Unplaceable:
            watch.looked(now, better=False)
            return False
        situation = rebalance.Situation(
            now=before,
            fault=watch.fault,
            broken_s=watch.broken_s(now),
            better_s=watch.better_s(now),
            fps=held.fps or 0.0,
            moved_s_ago=tuple(now - t for t in held.moves),
        )
        new = asking.started(held.placement, decision.placement)
        handlers = decision.variant.topology.handlers
        loading = rebalance.loading_ms([handlers[h] for h in new], self._decider.types)
        count = asking.moved(held.placement, decision.placement) or len(new)
        verdict = rebalance.judge(situation, decision.predicted, count, request.objective, loading)
        watch.looked(now, better=verdict.better)
        if not (verdict.move and may and self._carrier.begin(held, decision)):
            return False
        held.moves.append(now)
        held.results.clear()
        watch.moved(now)
        self.moves += 1
        return True


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
