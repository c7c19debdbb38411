"""May a new session come in? Not where it would break what running ones of its priority or a higher one were promised.

Pure. Promises are the bounds of the objectives, predicted with and without the newcomer: only what holds without it
and breaks with it counts. A node that its known load would fill (to 90 % of all cores, or more than it is) counts too.
Order of trying: where promises hold; then other nodes; then the request's other variants; then, for a higher priority,
where those of a lower one are hurt; then 507 with what would fit.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

import msgspec
import numpy as np
from msgspec import Struct

from coordinator.allocation.base import Decision, Predicted, Request, Snapshot, Unplaceable, Variant, work
from coordinator.allocation.cost import always_run, model
from coordinator.allocation.decide import BadDecision, missed
from coordinator.allocation.loads import Cores, Loads, Promise, cores
from coordinator.allocation.predict import predict

Decide = Callable[[Request, Snapshot], Decision]  # raises Unplaceable

FULL = 0.9  # of all cores: work that is shared evenly takes three times as long there on four cores, see core_stretch
TRIES = 3  # places looked at; nodes that are full are all left out from the second on
STEPS = 7  # of halving, until the frames/s that would fit are known

replace = msgspec.structs.replace


class Break(Struct, frozen=True, kw_only=True):
    """What the newcomer would do to a running session, or to a node that sessions share."""

    session_ids: tuple[int, ...]
    priority: int  # the highest of theirs
    node_ids: tuple[int, ...]  # where they meet
    why: str


class Fit(Struct, frozen=True, kw_only=True):
    """What could be had instead."""

    variant: str
    max_fps: float
    node_ids: tuple[int, ...]


class Admitted(Struct, frozen=True, kw_only=True):
    """A decision that may be carried out, and whom of a lower priority it hurts."""

    decision: Decision
    displaced: tuple[Break, ...] = ()


class Refused(Unplaceable):
    """It would break promises; says which, and what would fit."""

    def __init__(self, breaks: tuple[Break, ...], fits: tuple[Fit, ...], reasons: Mapping[int, str]) -> None:
        said = "; ".join(b.why for b in breaks)
        super().__init__(f"it would break what running sessions were promised: {said}. {_fits(fits)}", reasons)
        self.breaks, self.fits = breaks, fits


def admit(
    decide: Decide,
    request: Request,
    snapshot: Snapshot,
    promises: Iterable[Promise],
    priority: int = 0,
    others: Sequence[Variant] = (),
    *,
    advise: bool = True,
) -> Admitted:
    """Return a decision for *request* that breaks no promise of *priority* or above. Raises Refused, Unplaceable.

    others: variants of the service that were not asked for; a refusal says whether one of them would fit.
    advise: a refusal says all that would break and what would fit; to find that out takes some dozen decisions.
    """
    loads = Loads(snapshot, promises)
    gate = _Gate(decide, loads, priority, brief=not advise)
    lowest = min((p.priority for p in loads.promises.values()), default=priority)
    if lowest < priority and request.rate is not None:
        with suppress(Unplaceable):
            nobody_hurt = _Gate(decide, loads, lowest, brief=True)
            return nobody_hurt.admit(request)  # if there is such a place
    try:
        return gate.admit(request)
    except Refused as refused:
        if not advise:
            raise
        fits = tuple(gate.fits(replace(request, variants=(*request.variants, *others))))
        raise Refused(refused.breaks, fits, refused.reasons) from None


def breaks(decision: Decision, request: Request, loads: Loads) -> list[Break]:
    """Return what *decision* would break, of any priority. Without a known rate (`min_fps`) nothing is foreseen."""
    more = _more(decision, request, loads)
    if not more:
        return []
    found = [_broken(p, loads, more) for p in loads.promises.values() if p.placement.used() & more.keys()]
    return [b for b in found if b is not None] + _overloaded(loads, more)


def _more(decision: Decision, request: Request, loads: Loads) -> Cores:
    return cores(decision.variant, decision.placement, request.rate or 0.0, loads.snapshot)


def view(snapshot: Snapshot, promises: Iterable[Promise], priority: int) -> Snapshot:
    """Return what a session of *priority* may count on: others have what they were promised or take, those of a lower
    priority nothing.
    """
    loads = Loads(snapshot, promises)
    return loads.under(without=_lower(loads, priority))


def _lower(loads: Loads, priority: int) -> set[int]:
    return {i for i, p in loads.promises.items() if p.priority < priority}


class _Gate:
    def __init__(self, decide: Decide, loads: Loads, priority: int, *, brief: bool) -> None:
        """brief: a refusal need not say all that would break."""
        self._decide, self._loads, self._priority, self._brief = decide, loads, priority, brief
        self._world = loads.under(without=_lower(loads, priority))
        self._empty = loads.under(without=loads.promises.keys())

    def admit(self, request: Request) -> Admitted:
        """Return the first that breaks nothing. Raises Refused, Unplaceable."""
        first: Refused | None = None
        for one in self._alternatives(request):
            try:
                return self._admit(one)
            except Refused as refused:
                first = first or refused
            except Unplaceable:
                if first is None:
                    raise
        if first is None:
            raise Unplaceable("no variant of the service meets the objective", {})
        raise first

    def fits(self, request: Request) -> Iterable[Fit]:
        """Yield what could be had: each variant at the highest rate that fits."""
        for variant in request.variants:
            found = self._highest(replace(request, variants=(variant,), explain=False))
            if found is not None:
                yield found

    def _alternatives(self, request: Request) -> Iterable[Request]:
        yield request
        if len(request.variants) > 1:
            for variant in request.variants:
                yield replace(request, variants=(variant,))

    def _admit(self, request: Request) -> Admitted:
        avoid: dict[int, str] = {}
        seen: list[Break] = []
        for _ in range(TRIES):
            try:
                decision = self._decide(request, _avoiding(self._world, avoid))
            except BadDecision:
                raise
            except Unplaceable as error:
                seen = seen or self._would_break(request)
                if not seen:
                    raise
                raise Refused(tuple(seen), (), error.reasons | avoid) from error
            found = self._breaks(decision, request, brief=self._brief or bool(seen))
            wrong = self._wrong(found)
            if not wrong:
                return Admitted(decision=decision, displaced=tuple(found))
            seen, avoid = seen or wrong, avoid or self._full(request)
            avoid |= {n: b.why for b in wrong for n in b.node_ids}
        raise Refused(tuple(seen), (), avoid)

    def _breaks(self, decision: Decision, request: Request, *, brief: bool) -> list[Break]:
        """Return what breaks; in *brief* only the nodes that would be full, where these are reason enough."""
        if brief:
            full = _overloaded(self._loads, _more(decision, request, self._loads))
            if self._wrong(full):
                return full
        return breaks(decision, request, self._loads)

    def _full(self, request: Request) -> dict[int, str]:
        """Return the nodes that not even the smallest of the request's handlers may come to, and why."""
        costs, rate = model(self._loads.snapshot), request.rate or 0.0
        works = [work(v.topology.handlers[h]) for v in request.variants for h in always_run(v)]
        least = np.min([cost.ms for cost in costs.handlers(works)], axis=0) * rate / 1000
        full = np.flatnonzero(self._loads.utilisation() + least / costs.nodes.cpus >= FULL)
        found = _overloaded(self._loads, {costs.nodes.ids[i]: float(least[i]) for i in full})
        return {b.node_ids[0]: b.why for b in self._wrong(found)}

    def _wrong(self, found: Iterable[Break]) -> list[Break]:
        return [b for b in found if b.priority >= self._priority]

    def _would_break(self, request: Request) -> list[Break]:
        """Return what *request* would break where it would go if the others were not there; nothing when that is no
        help either.
        """
        try:
            decision = self._decide(replace(request, explain=False), self._empty)
        except Unplaceable:
            return []
        return self._wrong(breaks(decision, request, self._loads))

    def _highest(self, request: Request) -> Fit | None:
        """Return the highest rate (frames/s), up to the one asked for, at which *request* breaks nothing."""
        if request.rate is None:
            return None
        low, high, best = 0.0, request.rate, None
        for step in range(STEPS):
            rate = (low + high) / 2 if step else high
            try:
                objective = replace(request.objective, min_fps=rate)
                decision = self._admit(replace(request, objective=objective, rate=rate)).decision
            except Unplaceable:
                high = rate
                continue
            used = tuple(sorted(decision.placement.used()))
            best = Fit(variant=decision.variant.variant_name, max_fps=_rounded_down(rate), node_ids=used)
            low = rate
            if low == high:
                break
        return best


def _broken(promise: Promise, loads: Loads, more: Cores) -> Break | None:
    """Return which bound of a running session holds without *more* load and not with it."""
    if promise.objective.max_latency_ms is None and promise.objective.min_fps is None:
        return None
    if not all(n in loads.snapshot.nodes for n in promise.placement.used()):
        return None  # it has lost a node: its promise is broken already
    own = {promise.session_id}
    usual = loads.usual(promise.session_id)
    after = _predicted(promise, loads.under(without=own, more=more), usual)
    fault = missed(promise.objective, after)
    if fault is None:
        return None
    before = _predicted(promise, usual, usual)
    if missed(promise.objective, before) is not None:
        return None
    return Break(
        session_ids=(promise.session_id,),
        priority=promise.priority,
        node_ids=tuple(sorted(promise.placement.used() & more.keys())),
        why=f"session {promise.session_id} (priority {promise.priority}): {_now(promise, before, after)}, {fault}",
    )


def _predicted(promise: Promise, world: Snapshot, usual: Snapshot) -> Predicted:
    """Return what the session gets in *world*. Times measured in the *usual* world have the waiting there in them."""
    request = Request(service="", variants=(promise.variant,), rate=promise.objective.min_fps)
    found = predict(promise.variant, promise.placement, world, request)
    costs, before, more = model(world), model(usual), 0.0
    for handler_id in always_run(promise.variant):
        cost = costs.handler(work(promise.variant.topology.handlers[handler_id]))
        nodes = [costs.nodes.index[n] for n in promise.placement.nodes[handler_id]]
        grown = (float(cost.confidence[n] * cost.ms[n] * (costs.stretch[n] - before.stretch[n])) for n in nodes)
        more += sum(grown) / len(nodes)
    return replace(found, latency_ms=found.latency_ms + more, wait_ms=found.wait_ms + more)


def _overloaded(loads: Loads, more: Cores) -> list[Break]:
    """Return the nodes with running sessions that are full with *more*, by what is known; also those full before."""
    before, after = loads.utilisation(), loads.utilisation(more=more)
    found = []
    for n in sorted(more):
        there = [i for i, kept in loads.kept.items() if kept.get(n)]
        if there and loads.at(after, n) >= FULL:
            priority = max(loads.promises[i].priority for i in there)
            words = f"node {n} would be {loads.at(after, n):.0%} busy instead of {loads.at(before, n):.0%}"
            ids = ", ".join(map(str, there))
            why = f"{words}, and session{'s' if len(there) > 1 else ''} {ids} (priority {priority}) run there"
            found.append(Break(session_ids=tuple(there), priority=priority, node_ids=(n,), why=why))
    return found


def _avoiding(world: Snapshot, avoid: Mapping[int, str]) -> Snapshot:
    if not avoid:
        return world
    nodes = {n: replace(v, refuses=v.refuses or avoid.get(n)) if n in avoid else v for n, v in world.nodes.items()}
    return replace(world, nodes=nodes)


def _now(promise: Promise, before: Predicted, after: Predicted) -> str:
    """Return what it has now of what would break."""
    bound = promise.objective.max_latency_ms
    if bound is not None and after.latency_ms > bound:
        return f"{before.latency_ms:.0f} ms now"
    return f"{before.fps or 0:.1f} frames/s now"


def _fits(fits: tuple[Fit, ...]) -> str:
    if not fits:
        return "Nothing smaller of this service would fit either; a higher `priority` would be let in."
    said = [
        f"variant {f.variant} at up to {f.max_fps:g} frames/s on node {', '.join(map(str, f.node_ids))}" for f in fits
    ]
    return f"This would fit: {'; '.join(said)}. A higher `priority` would be let in."


def _rounded_down(rate: float) -> float:
    digits = 10 if rate >= 1 else 100
    return int(rate * digits) / digits
