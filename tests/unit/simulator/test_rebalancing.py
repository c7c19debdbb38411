"""Who is looked at for a better place: nobody while every node is full."""

from typing import Any

import pytest

from coordinator.allocation.base import NodeView, Placement, Request, Unplaceable
from coordinator.overload import OVERLOAD, OVERLOAD_S
from coordinator.watch import LOOK_S
from simulator.held import State
from simulator.rebalancing import Rebalancer
from simulator.scenario import Control


class Looks:
    """A decider that counts, and knows no other place."""

    def __init__(self) -> None:
        self.count = 0

    def better(self, held: Any, request: Request, *, broken: bool) -> Any:
        self.count += 1
        raise Unplaceable("nowhere else", {})


class Runs:
    """What of a session the rule reads."""

    number, state, pending, moves = 0, State.RUNNING, None, ()
    placement = Placement(nodes={1: (1,)}, entry_node=1)


@pytest.mark.parametrize(("loads", "looks"), [((95, 95), 0), ((95, 50), 1), ((OVERLOAD, OVERLOAD - 1), 1)])
def test_where_every_node_is_full_nobody_is_looked_at(loads: tuple[float, float], looks: int) -> None:
    decider: Any = Looks()
    carrier: Any = None
    session: Any = Runs()
    rebalancer = Rebalancer(Control(), decider, carrier, lambda _: Request(service="s", variants=()))
    nodes = {n: NodeView(node_id=n, cpus=2, cpu_util=load) for n, load in enumerate(loads, 1)}
    rebalancer.look([session], nodes, 0.0)  # all nodes are new, so this look counts for nothing
    decider.count = 0
    for now in (OVERLOAD_S, OVERLOAD_S + LOOK_S):
        rebalancer.look([session], nodes, now)
    assert decider.count == looks
