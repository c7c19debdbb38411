"""Plans for the whole system, coordinators, collector, MariaDB, three nodes, clients: faults of every kind. Pure.

The first third meddles only with what frames should not notice (G8); then anything happens to anybody.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.faults.plans import CONNECTIONS, HANDLERS, READ, Fault, Kind, Part, Plan, Sender, What, Work

NODES = (1, 2, 3)
COORDINATORS = (1, 2)
SILENT_PARTS = (Part.COLLECTOR, Part.DATABASE, Part.COORDINATOR, Part.REPORT, Part.QUERY, Part.SPOOL)
DAEMONS = (Part.NODE, Part.COORDINATOR, Part.COLLECTOR, Part.DATABASE)
POSTS = (What.CORRUPT, What.GIANT, What.HALF, What.LEAVE, What.DRIBBLE)


@dataclass(frozen=True)
class Size:
    """How much happens, and when. Times: s since the first fault could begin."""

    seconds: float = 30.0
    quiet: float = 9.0  # from then on faults may be loud
    last: float = 27.0  # none begins later
    silent: int = 4
    loud: int = 12


SHORT = Size(seconds=12.0, quiet=3.0, last=10.0, silent=2, loud=5)


def whole_plan(seed: int, size: Size = Size()) -> Plan:
    """Return the plan of *seed* for the whole system."""
    rng = random.Random(seed)
    works = (work(rng, "fan", "lossless"), work(rng, "chain", rng.choice(["live", "lossless"])))
    silent = [_silent(rng, _between(rng, 0.2, size.quiet / 2)) for _ in range(size.silent)]
    harsh = [loud(rng, _between(rng, size.quiet, size.last)) for _ in range(size.loud)]
    faults = sorted([*silent, *harsh], key=lambda fault: fault.at_s)
    return Plan(seed, works, tuple(faults), whole=True, seconds=size.seconds)


def work(rng: random.Random, variant: str, delivery: str) -> Work:
    """Return a session whose handlers have two nodes each to choose from."""
    first, second, third = rng.sample(NODES, 3)
    pairs = [[first, second], [second, third], [third, first]]  # no node may have them all: frames always hop
    pin = {handler: pairs[place % 3] for place, handler in enumerate(HANDLERS[variant])}
    replicas = dict.fromkeys(pin, 1) | {READ: rng.choice([1, 2])}
    kinds = [Kind.AWAITED, Kind.ASYNC, Kind.PICTURE if variant == "fan" else Kind.AWAITED]
    senders = tuple(Sender(kind, rng.randint(1, 2), rng.choice([0.0, 0.2, 0.5])) for kind in kinds)
    return Work(variant, pin, 0, delivery, rng.choice([4, 8, 16]), senders, replicas)


def _between(rng: random.Random, first: float, last: float) -> float:
    return round(rng.uniform(first, last), 2)


def _silent(rng: random.Random, at_s: float) -> Fault:
    """Return what frames should not notice; it is over soon after the quiet third."""
    part = rng.choice(SILENT_PARTS)
    if part is Part.SPOOL:
        return _spool(rng, at_s)
    if part in (Part.REPORT, Part.QUERY):
        return _connections(rng, at_s, part)
    what = rng.choice([What.KILL, What.KILL, What.PAUSE, What.SLOW, What.CLOCK, What.KILL_ONE])
    return _daemon(rng, at_s, part, what, longest_s=3.0)


def loud(rng: random.Random, at_s: float) -> Fault:
    """Return a fault of any kind."""
    makers: list[Callable[[], Fault]] = [
        *[lambda: _process(rng, at_s, Part.HANDLER)] * 5,
        *[lambda: _process(rng, at_s, Part.GATEWAY)] * 3,
        *[lambda: _daemon(rng, at_s, Part.NODE, rng.choice(_WHATS), longest_s=10.0)] * 5,
        *[lambda: _daemon(rng, at_s, rng.choice(DAEMONS), rng.choice(_WHATS), longest_s=5.0)] * 3,
        *[lambda: _connections(rng, at_s, rng.choice([Part.APART, Part.CONTROL, Part.LINK, Part.DOOR]))] * 6,
        *[lambda: _connections(rng, at_s, rng.choice([Part.REPORT, Part.QUERY]))] * 1,
        *[lambda: Fault(at_s, rng.choice(POSTS), Part.CLIENT, session=rng.randrange(2), amount=rng.uniform(1, 5))] * 4,
        lambda: _spool(rng, at_s),
        lambda: Fault(at_s, What.FULL, Part.SHM, rng.choice(NODES), lasts_s=_between(rng, 1, 5)),
    ]
    return rng.choice(makers)()


_WHATS = (What.KILL, What.KILL, What.KILL_ONE, What.PAUSE, What.SLOW, What.CLOCK)


def _process(rng: random.Random, at_s: float, part: Part) -> Fault:
    what = rng.choice([What.KILL, What.KILL, What.PAUSE, What.SLOW])
    session = rng.randrange(2)
    handler_id = rng.choice(list(HANDLERS[("fan", "chain")[session]])) if part is Part.HANDLER else 0
    node_id = rng.choice(NODES) if part is Part.GATEWAY else 0
    fault = Fault(at_s, what, part, node_id, session, handler_id)
    return _lasting(rng, fault, longest_s=5.0)


def _daemon(rng: random.Random, at_s: float, part: Part, what: What, longest_s: float) -> Fault:
    number = {Part.NODE: NODES, Part.COORDINATOR: COORDINATORS}.get(part, (0,))
    if part is Part.DATABASE and what in (What.CLOCK, What.KILL_ONE):
        what = What.KILL
    return _lasting(rng, Fault(at_s, what, part, rng.choice(number)), longest_s)


def _lasting(rng: random.Random, fault: Fault, longest_s: float) -> Fault:
    """Return *fault* with the time that it takes."""
    if fault.what is What.PAUSE:
        return replace(fault, amount=_between(rng, 1.0, longest_s))
    if fault.what is What.CLOCK:
        return replace(fault, amount=rng.choice([-5.0, 5.0]), lasts_s=_between(rng, 2.0, longest_s))
    if fault.what is What.SLOW:
        return replace(fault, lasts_s=_between(rng, 1.0, min(5.0, longest_s)))
    return replace(fault, lasts_s=0.0 if fault.part in (Part.HANDLER, Part.GATEWAY) else _between(rng, 0.5, 4.0))


def _connections(rng: random.Random, at_s: float, part: Part) -> Fault:
    what = rng.choice([w for w in CONNECTIONS if part is not Part.APART or w is not What.CUT])
    amount = _between(rng, 0.005, 0.2) if what is What.DELAY else 0.0
    amount = rng.randint(1, 60_000) if what is What.CUT else amount
    lasts_s = _between(rng, 0.3, 6.0) if what in (What.DELAY, What.STALL, What.REFUSE) else 0.0
    return Fault(at_s, what, part, 0 if part is Part.QUERY else rng.choice(NODES), amount=amount, lasts_s=lasts_s)


def _spool(rng: random.Random, at_s: float) -> Fault:
    what = rng.choice([What.FULL, What.READ_ONLY, What.SLOW_DISK])
    return Fault(at_s, what, Part.SPOOL, rng.choice(NODES), lasts_s=_between(rng, 0.5, 3.0))
