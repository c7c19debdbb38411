"""What a graph means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.transport.routing import Routing, targets_of
from wire.graph import GraphError, Topology, wanted
from wire.messages import Entry, Graph, HandlerSpec, Link, ResultSpec, Route, SessionPlan
from wire.packet import Header

SOURCE, STEP, JOIN, SINK, SPLIT = 100, 101, 102, 103, 104
PORTS = {SOURCE: (0, 1), STEP: (1, 1), JOIN: (2, 1), SINK: (1, 0), SPLIT: (1, 2)}


def link(text: str) -> Link:
    """Return the link that "1>2" or "1.1>2.1" (handler.port) means."""
    (a, out), (b, into) = ((*end.split("."), "0")[:2] for end in text.split(">"))
    return Link(source_handler=int(a), source_output=int(out), target_handler=int(b), target_input=int(into))


def graph(types: dict[int, int], links: str = "", results: list[ResultSpec] | None = None) -> Graph:
    handlers = [HandlerSpec(handler_id=h, handler_type=t) for h, t in types.items()]
    return Graph(handlers=handlers, links=[link(t) for t in links.split()], results=results or [])


DIAMOND = graph({1: STEP, 2: STEP, 3: STEP, 4: JOIN}, "1>2 1>3 2>4.0 3>4.1")


def exits(topology: Topology) -> list[tuple[int, int]]:
    return [(e.handler_id, e.output) for e in topology.exits]


def test_a_diamond() -> None:
    topology = Topology(DIAMOND, PORTS)
    assert topology.order == [1, 2, 3, 4]
    assert (topology.entry, topology.entry_input, topology.has_source) == (1, 0, False)
    assert exits(topology) == [(4, 0)]
    assert [(k.source_handler, k.target_input) for k in topology.links_to(4)] == [(2, 0), (3, 1)]


def test_a_join_may_be_the_entry_with_its_free_input() -> None:
    with pytest.raises(GraphError, match="more than one entry"):
        Topology(graph({1: STEP, 2: JOIN}, "1>2.0"), PORTS)
    source = Topology(graph({1: SOURCE, 2: STEP}, "1>2"), PORTS)
    assert (source.entry, source.entry_input, source.has_source) == (1, 0, True)


def test_a_sink_is_an_exit_so_that_the_entry_hears_of_the_frame() -> None:
    assert exits(Topology(graph({1: STEP, 2: SINK}, "1>2"), PORTS)) == [(2, 0)]


def test_results_name_exits_beside_those_that_are_open_each_once() -> None:
    named = [ResultSpec(handler_id=1), ResultSpec(handler_id=2, on_demand=True)]
    topology = Topology(graph({1: STEP, 2: STEP}, "1>2", named), PORTS)
    assert exits(topology) == [(1, 0), (2, 0)]
    assert topology.exits[1].on_demand


def test_a_split_has_an_exit_for_each_free_output() -> None:
    assert exits(Topology(graph({1: SPLIT, 2: STEP}, "1.1>2"), PORTS)) == [(1, 0), (2, 0)]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (graph({}), "no handlers"),
        (graph({1: 999}), "no handler type 999"),
        (Graph(handlers=[HandlerSpec(handler_id=1, handler_type=STEP)] * 2), "twice"),
        (graph({1: STEP}, "1>1"), "cycle"),
        (graph({1: JOIN, 2: STEP}, "1>2 2>1.1"), "cycle"),
        (graph({1: STEP, 2: STEP, 3: STEP}, "2>3 3>2"), "cycle"),
        (graph({1: STEP, 2: STEP, 3: STEP}, "1>3 2>3"), "two links"),
        (graph({1: STEP, 2: STEP}, "1.1>2"), "no output 1"),
        (graph({1: STEP, 2: STEP}, "1>2.1"), "no input 1"),
        (graph({1: STEP, 2: SOURCE}, "1>2"), "no input 0"),
        (graph({1: SINK, 2: STEP}, "1>2"), "no output 0"),
        (graph({1: STEP}, "1>9"), "handler 9"),
        (graph({1: STEP}, results=[ResultSpec(handler_id=9)]), "output 0 of handler 9"),
        (graph({1: STEP}, results=[ResultSpec(handler_id=1, output=1)]), "output 1 of handler 1"),
        (graph({1: STEP, 2: STEP}), "more than one entry"),
        (graph({1: SOURCE, 2: SOURCE, 3: JOIN}, "1>3.0 2>3.1"), "more than one entry"),
    ],
)
def test_a_graph_that_cannot_run_says_why(bad: Graph, says: str) -> None:
    with pytest.raises(GraphError, match=says):
        Topology(bad, PORTS)


@given(st.data())
def test_any_graph_is_sorted_or_refused(data: st.DataObject) -> None:
    """In the order, every link points forward; whatever is wrong is a GraphError."""
    types = data.draw(st.dictionaries(st.integers(1, 6), st.sampled_from(sorted(PORTS)), max_size=6))
    ids = st.sampled_from(sorted(types) or [1])
    links = data.draw(
        st.lists(
            st.builds(
                Link,
                source_handler=ids,
                source_output=st.integers(0, 1),
                target_handler=ids,
                target_input=st.integers(0, 1),
            ),
            max_size=8,
        )
    )
    try:
        topology = Topology(graph(types) if not links else Graph(handlers=graph(types).handlers, links=links), PORTS)
    except GraphError:
        return
    place = {h: i for i, h in enumerate(topology.order)}
    assert sorted(place) == sorted(types)
    assert all(place[k.source_handler] < place[k.target_handler] for k in links)
    assert topology.entry == topology.order[0] or topology.links_to(topology.entry)
    assert topology.exits, "every frame ends somewhere"
    for k in links:
        assert topology.needed_by(k), "every link leads to an exit"


def test_what_a_link_leads_to() -> None:
    """A picture is drawn only for the frames that want it; the boxes go on without."""
    picture = ResultSpec(handler_id=3, on_demand=True)
    topology = Topology(
        graph({1: STEP, 2: STEP, 3: JOIN}, "1>2 1>3.0 2>3.1", [ResultSpec(handler_id=2), picture]), PORTS
    )
    to_boxes, to_drawing, boxes_to_drawing = topology.graph.links
    assert topology.needed_by(to_drawing) == [picture]
    assert topology.needed_by(boxes_to_drawing) == [picture]
    assert len(topology.needed_by(to_boxes)) == 2
    assert wanted(topology.needed_by(to_boxes), [])
    assert not wanted(topology.needed_by(to_drawing), [])
    assert wanted(topology.needed_by(to_drawing), [(3, 0)])
    assert not wanted(topology.needed_by(to_drawing), [(3, 1)])
    assert not wanted([], [(3, 0)])


def plan(of: Graph, routes: dict[int, list[int]], results: list[ResultSpec] | None = None) -> SessionPlan:
    return SessionPlan(
        epoch=1,
        accept_from=1,
        graph=of,
        local=[],
        routes={h: [Route(node_id=n, url=f"http://127.0.0.1:{n}") for n in nodes] for h, nodes in routes.items()},
        entry=Entry(node_id=1, url="http://127.0.0.1:1", key="k", handler_id=1),
        results=results or [],
    )


def test_replicas_take_turns_and_the_inputs_of_a_frame_meet() -> None:
    diamond = plan(DIAMOND, {1: [1], 2: [1], 3: [2], 4: [1, 2, 3]})
    left, right = Routing(diamond, 2, PORTS).outputs[0].targets[0], Routing(diamond, 3, PORTS).outputs[0].targets[0]
    assert (left.port, right.port) == (0, 1)
    for sequence in range(9):
        assert left.replica(sequence) == right.replica(sequence)
    assert {left.replica(s).node_id for s in range(3)} == {1, 2, 3}


def test_outputs_know_their_links_and_their_exit() -> None:
    routing = Routing(plan(DIAMOND, {1: [1], 2: [1], 3: [2], 4: [1]}, [ResultSpec(handler_id=2)]), 2, PORTS)
    (output,) = routing.outputs
    assert [(t.handler_id, t.inputs) for t in output.targets] == [(4, 2)]
    assert output.exit == ResultSpec(handler_id=2)
    last = Routing(routing.plan, 4, PORTS).outputs[0]
    assert (last.targets, last.exit) == ((), None), "the plan's results are all that counts"


def test_a_target_is_left_out_for_frames_that_do_not_want_it() -> None:
    picture = ResultSpec(handler_id=2, on_demand=True)
    with_picture = plan(graph({1: STEP, 2: STEP}, "1>2", [ResultSpec(handler_id=1), picture]), {1: [1], 2: [1]})
    (target,) = Routing(with_picture, 1, PORTS).outputs[0].targets
    header = Header(session_id=1, epoch=1, sequence=0, timestamp=0.0, origin=1)
    assert not target.needed(header)
    assert target.needed(
        Header(session_id=1, epoch=1, sequence=0, timestamp=0.0, origin=1, want=[(2, 0)]),
    )


@pytest.mark.parametrize("routes", [{1: [1], 2: [1], 3: [1]}, {1: [1], 2: [1], 3: [1], 4: []}])
def test_a_plan_without_a_place_for_a_handler_is_refused_at_once(routes: dict[int, list[int]]) -> None:
    """Not with each frame, by a division by zero."""
    bad = plan(DIAMOND, routes)
    with pytest.raises(GraphError, match="handler 4 has no route"):
        targets_of(bad, Topology(DIAMOND, PORTS), 2)
