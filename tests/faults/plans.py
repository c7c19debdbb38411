"""Plans of faults: who sends what, and what happens to whom, and when. Pure: a seed gives the same plan each time."""

import random
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from itertools import accumulate
from typing import Any

NODES = (1, 2)
DECODE, READ, MATCH, COUNT, ENCODE = range(5)  # handler_ids of the laboratory's services (see services.py)
HANDLERS = {"chain": (DECODE, READ, COUNT), "fan": (DECODE, READ, MATCH, COUNT, ENCODE)}


class What(StrEnum):
    """What goes wrong. Of a process: kill (SIGKILL), pause (SIGSTOP, SIGCONT after *amount* s).

    Of a daemon kill and pause mean its whole process group; kill_one its first process alone. slow: it is stopped for
    nine tenths of *lasts_s*. clock: it is wrong by *amount* s.
    Of connections: delay (each piece by *amount* s), stall (nothing moves), refuse (none is taken), each for a while;
    reset (RST), close (FIN), cut (RST after *amount* more bytes): those that are there now.
    Of a disk or of shared memory: full, read_only, slow_disk. Of a client: what is wrong with its post.
    """

    KILL, PAUSE, KILL_ONE, SLOW, CLOCK = "kill", "pause", "kill_one", "slow", "clock"
    DELAY, STALL, REFUSE = "delay", "stall", "refuse"
    RESET, CLOSE, CUT = "reset", "close", "cut"
    FULL, READ_ONLY, SLOW_DISK = "full", "read_only", "slow_disk"
    CORRUPT, GIANT, HALF, LEAVE, DRIBBLE = "corrupt", "giant", "half", "leave", "dribble"


class Part(StrEnum):
    """What a fault is about. A link is where other nodes reach a node, a door where clients do.

    control: where coordinators and a node reach each other; report: where a node reaches the collector; apart: all
    ways to a node and from it; query: where coordinators and collector reach the database; spool: its disk.
    """

    HANDLER, GATEWAY, NODE, COORDINATOR = "handler", "gateway", "node", "coordinator"
    COLLECTOR, DATABASE, CLIENT = "collector", "database", "client"
    LINK, DOOR, CONTROL, REPORT, QUERY, APART = "link", "door", "control", "report", "query", "apart"
    SPOOL, SHM = "spool", "shm"


CONNECTIONS = (What.DELAY, What.STALL, What.REFUSE, What.RESET, What.CLOSE, What.CUT)


class Kind(StrEnum):
    """How a client asks."""

    AWAITED, ASYNC, PICTURE = "awaited", "async", "picture"


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    at_s: float  # after the beginning of all faults
    what: What
    part: Part
    node_id: int = 0  # of a handler: 0 is wherever it runs then; of a coordinator: its number, 0 is the only one
    session: int = 0  # index into the plan's sessions, of a handler or a client
    handler_id: int = 0
    amount: float = 0.0  # s, or bytes of a cut
    lasts_s: float = 0.0  # until all is well again; of a killed daemon: until it is started again

    @property
    def end_s(self) -> float:
        """When it is over, as planned."""
        return self.at_s + (self.amount if self.what is What.PAUSE else self.lasts_s)


@dataclass(frozen=True)
class Sender:
    """One client: its frames are numbered, sent in shuffled order by several connections, some of them twice."""

    kind: Kind
    connections: int
    twice: float  # share of the frames


@dataclass(frozen=True)
class Work:
    """One session and its clients."""

    variant: str
    pin: dict[int, list[int]]
    entry_node: int
    delivery: str
    window: int
    senders: tuple[Sender, ...]
    replicas: dict[int, int] = field(default_factory=dict)  # where a pin leaves a choice


@dataclass(frozen=True)
class Plan:
    """A whole run."""

    seed: int
    works: tuple[Work, ...]
    faults: tuple[Fault, ...]
    whole: bool = False  # the whole system (see whole_plans.py)
    seconds: float = 0.0  # that traffic flows at least

    def has(self, part: Part, what: What, node_id: int | None = None) -> bool:
        """Return True when such a fault is in the plan."""
        return any((f.part, f.what) == (part, what) and node_id in (None, f.node_id) for f in self.faults)

    def document(self) -> dict[str, Any]:
        """Return the plan as JSON types."""
        return asdict(self)


def plan(seed: int, *, nodes_die: bool = False) -> Plan:
    """Return the plan of *seed*; with *nodes_die* a whole node and the coordinator are killed too."""
    rng = random.Random(seed)
    works = (_work(rng, "fan", "lossless"), _work(rng, "chain", rng.choice(["live", "lossless"])))
    return Plan(seed, works, tuple(_faults(rng, works, nodes_die)))


def _work(rng: random.Random, variant: str, delivery: str) -> Work:
    pin = {h: [rng.choice(NODES)] for h in HANDLERS[variant]}
    if rng.random() < 0.5:
        pin[READ] = list(NODES)
    if variant == "fan" and rng.random() < 0.3:
        pin[MATCH] = list(NODES)
    if all(nodes == pin[DECODE] for nodes in pin.values()):
        pin[READ] = [3 - pin[DECODE][0]]
    kinds = [Kind.AWAITED, Kind.ASYNC, Kind.PICTURE if variant == "fan" else Kind.AWAITED]
    senders = tuple(Sender(kind, rng.randint(1, 3), rng.choice([0.0, 0.2, 0.5])) for kind in kinds)
    return Work(variant, pin, rng.choice(NODES), delivery, rng.choice([4, 8, 16]), senders)


def _faults(rng: random.Random, works: tuple[Work, ...], nodes_die: bool) -> Iterable[Fault]:
    gateways = rng.sample(NODES, 2)
    makers: list[Callable[[], Fault]] = [lambda: _handler(rng, works, What.KILL)] * 4 + [
        lambda: _handler(rng, works, What.PAUSE)
    ] * 2
    makers += [lambda: _gateway(rng, What.KILL, gateways.pop()), lambda: _gateway(rng, What.PAUSE, rng.choice(NODES))]
    makers += [lambda: _connections(rng, rng.choice([Part.LINK, Part.LINK, Part.DOOR]))] * 6
    if rng.random() < 0.5:
        makers.append(lambda: _gateway(rng, What.KILL, gateways.pop()))
    if nodes_die:
        makers += [lambda: _whole(rng, Part.NODE, rng.choice(NODES)), lambda: _whole(rng, Part.COORDINATOR, 0)]
    rng.shuffle(makers)
    made = [make() for make in makers]
    times = accumulate(fault.at_s for fault in made)  # so far each has its pause after the one before
    return [replace(fault, at_s=round(at_s, 3)) for fault, at_s in zip(made, times, strict=True)]


def _pause_before(rng: random.Random) -> float:
    """Return s: often so few that one fault meets the other."""
    return round(rng.choice([rng.uniform(0.0, 0.1), rng.uniform(0.2, 1.2)]), 3)


def _handler(rng: random.Random, works: tuple[Work, ...], what: What) -> Fault:
    session = rng.randrange(len(works))
    handler_id = rng.choice(list(works[session].pin))
    node_id = rng.choice(works[session].pin[handler_id])
    amount = round(rng.uniform(0.3, 1.5), 2) if what is What.PAUSE else 0.0
    return Fault(_pause_before(rng), what, Part.HANDLER, node_id, session, handler_id, amount)


def _gateway(rng: random.Random, what: What, node_id: int) -> Fault:
    amount = round(rng.uniform(0.3, 1.5), 2) if what is What.PAUSE else 0.0
    return Fault(_pause_before(rng), what, Part.GATEWAY, node_id, amount=amount)


def _connections(rng: random.Random, part: Part) -> Fault:
    what = rng.choice(CONNECTIONS)
    amount = round(rng.uniform(0.005, 0.2), 3) if what is What.DELAY else 0.0
    amount = rng.randint(1, 60_000) if what is What.CUT else amount
    lasts_s = round(rng.uniform(0.2, 1.2), 2) if what in (What.DELAY, What.STALL, What.REFUSE) else 0.0
    return Fault(_pause_before(rng), what, part, rng.choice(NODES), amount=amount, lasts_s=lasts_s)


def _whole(rng: random.Random, part: Part, node_id: int) -> Fault:
    return Fault(_pause_before(rng), What.KILL, part, node_id, lasts_s=round(rng.uniform(1.0, 5.0), 1))
