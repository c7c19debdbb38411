"""The damage that benchmarks.recovery measures, once each: nothing is lost, whatever the clock says. Real daemons."""

from collections.abc import Callable, Iterator

import pytest

from benchmarks.common import Outcome
from benchmarks.recovery import control, rows
from benchmarks.recovery.world import World, world
from tests.chance import chance


@pytest.fixture(scope="module")
def three_nodes() -> Iterator[World]:
    with world() as made:
        yield made


@pytest.fixture(autouse=True)
def drawn(three_nodes: World, request: pytest.FixtureRequest) -> None:
    """Victims and moments come from the seed."""
    three_nodes.chance = chance(request.node.name)


def quiet(text: str) -> None:
    """Tell nobody."""


DAMAGE: dict[str, Callable[[World], Outcome]] = {
    "a node is killed": lambda w: rows.kill(w, 1, quiet),
    "the entry's node is killed": lambda w: rows.kill(w, 1, quiet, entry=True),
    "a node is drained": lambda w: rows.drain(w, 1, quiet),
    "the entry's node is drained": lambda w: rows.drain(w, 1, quiet, entry=True),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_lossless_session_delivers_every_frame_once(three_nodes: World, what: str) -> None:
    outcome = DAMAGE[what](three_nodes)
    assert outcome.figures["sent"] > rows.WARM_S * rows.FPS
    assert outcome.figures["lost"] == 0


def test_no_frame_notices_that_the_coordinator_was_killed_and_started_again(three_nodes: World) -> None:
    outcome = control.restart(three_nodes, 1, quiet)
    assert outcome.figures["lost"] == 0
    assert outcome.figures["runs"][0]["epochs"] == 1, "frames went through another placement"


def test_clocks_are_compared_and_one_machine_has_one_clock(three_nodes: World) -> None:
    """The true difference is 0: it lies within what each node says."""
    nodes = three_nodes.api.list_of("/nodes", "nodes")
    assert len(nodes) == 3
    for node in nodes:
        assert node["clock_error_ms"] is not None
        assert abs(node["clock_offset_ms"]) <= node["clock_error_ms"] + 0.1
