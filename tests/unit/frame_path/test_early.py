"""Which frames may be nowhere after a handler sent them on by an older plan than theirs."""

import msgspec

from node.transport.routing import Routing
from node.worker.early import Early
from tests.unit.frame_path.stage import fan_out
from tests.unit.frame_path.test_graph import PORTS
from wire.messages import Route

OLD = Routing(fan_out(2), 1, PORTS)


def newer(epoch: int, accept_from: int, *, node_id: int = 1) -> Routing:
    """Return a plan with handler 2 on node *node_id*."""
    plan = fan_out(2)
    routes = plan.routes | {2: [Route(node_id=node_id, url=f"http://127.0.0.{node_id}:1")]}
    changed = msgspec.structs.replace(plan, epoch=epoch, accept_from=accept_from, routes=routes)
    return Routing(changed, 1, PORTS)


def early(*sequences: int, let_go: int = 0) -> Early:
    found = Early()
    for sequence in sequences:
        found.note(OLD, sequence, let_go)
    return found


def test_those_that_went_another_way_are_told_of_once() -> None:
    went = early(5, 7, 6)
    assert went.astray(newer(2, 2, node_id=2), 0, idle=True) == 7
    assert went.astray(newer(2, 2, node_id=2), 0, idle=True) is None
    assert not went


def test_while_the_older_plan_is_welcome_its_places_have_them() -> None:
    went = early(5)
    assert went.astray(OLD, 0, idle=True) is None
    assert went.astray(newer(2, 1, node_id=2), 0, idle=True) is None
    assert went.astray(newer(2, 2, node_id=2), 0, idle=True) == 5, "the same plan, which has ended the older epoch"


def test_on_the_same_way_they_are_lost_only_if_the_sender_let_packets_go() -> None:
    assert early(5, let_go=3).astray(newer(2, 2), 3, idle=True) is None
    assert early(5, let_go=3).astray(newer(2, 2), 4, idle=True) == 5


def test_as_long_as_some_are_under_way_they_may_still_be_let_go() -> None:
    went = early(5)
    assert went.astray(newer(2, 2), 0, idle=False) is None
    assert went.astray(newer(2, 2), 1, idle=True) == 5


def test_by_two_older_plans() -> None:
    went, second = early(5), newer(2, 2, node_id=2)
    went.note(second, 9, 0)
    third = newer(3, 2, node_id=3)
    assert went.astray(third, 0, idle=True) == 5
    assert went.astray(newer(3, 3, node_id=3), 0, idle=True) == 9
