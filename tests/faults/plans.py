"""Plans of faults: what happens to which process, and when. Pure: a seed gives the same plan each time."""

import random
from dataclasses import dataclass
from enum import StrEnum

NODES = (1, 2)


class What(StrEnum):
    """kill: SIGKILL; pause: SIGSTOP, and SIGCONT after a while."""

    KILL, PAUSE = "kill", "pause"


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    wait_s: float  # after the fault before
    what: What
    handler_id: int | None  # None: a gateway
    node_id: int  # of the gateway
    seconds: float = 0.0  # of a pause


def plan(seed: int, handlers: list[int], count: int = 7) -> list[Fault]:
    """Return *count* faults; each kind comes at least once, no gateway is killed more than once."""
    rng = random.Random(seed)
    kinds = [(What.KILL, False)] * (count - 4) + [(What.PAUSE, False), (What.PAUSE, True)] + [(What.KILL, True)] * 2
    rng.shuffle(kinds)
    gateways = rng.sample(NODES, 2)
    found = []
    for what, gateway in kinds:
        node_id = gateways.pop() if gateway and what is What.KILL else rng.choice(NODES)
        handler_id = None if gateway else rng.choice(handlers)
        seconds = rng.uniform(0.5, 1.5) if what is What.PAUSE else 0.0
        found.append(Fault(rng.uniform(0.2, 0.6), what, handler_id, node_id, seconds))
    return found
