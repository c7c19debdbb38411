"""layered_dp against looking at every placement, on seeded random instances of at most 5 nodes and 5 handlers."""

import itertools
import random
from collections.abc import Iterator

from coordinator.allocation import ALGORITHMS
from coordinator.allocation.base import (
    Decision,
    LinkView,
    Measured,
    NodeView,
    Placement,
    Predicted,
    Request,
    Snapshot,
    TypeView,
    Unplaceable,
    Variant,
    work,
)
from coordinator.allocation.cost import Evaluator
from coordinator.allocation.feasibility import check
from coordinator.allocation.predict import predict, predicted
from wire.graph import Topology
from wire.messages import Graph, HandlerSpec, Link, Minimize, Objective, ResultSpec

ONE_INPUT, TWO_INPUTS = (1, 2, 3, 4), (11, 12)
PORTS = dict.fromkeys(ONE_INPUT, (1, 1)) | dict.fromkeys(TWO_INPUTS, (2, 1))
NOTHING = Predicted(latency_ms=0, fps=None, accuracy=None, basis="prior")


def types(draw: random.Random, *, memory: bool) -> dict[int, TypeView]:
    """Return the handler types of an instance."""
    outputs = ("Image", "Boxes", "Encoded")
    return {
        t: TypeView(
            handler_type=t,
            name=f"type{t}",
            service_ms=draw.choice([1, 5, 20, 60, 120]),
            memory_mib=draw.choice([100, 400, 900]) if memory else None,
            outputs=(draw.choice(outputs),),
        )
        for t in PORTS
    }


def graph(draw: random.Random, *, joins: bool) -> Graph:
    """A chain, or a graph where some handlers join two of those before them."""
    count, handlers, links = draw.randint(2, 5), [], []
    for i in range(count):
        two = joins and i >= 2 and draw.random() < 0.5
        handlers.append(HandlerSpec(handler_id=i, handler_type=draw.choice(TWO_INPUTS if two else ONE_INPUT)))
        sources = draw.sample(range(i), 2) if two else [i - 1 if not joins else draw.randrange(i)] if i else []
        links += [Link(source_handler=s, target_handler=i, target_input=n) for n, s in enumerate(sources)]
    return Graph(handlers=handlers, links=links, results=[ResultSpec(handler_id=count - 1)])


def node(draw: random.Random, node_id: int, *, memory: bool) -> NodeView:
    """Return any node."""
    return NodeView(
        node_id=node_id,
        zone=draw.choice(["edge", "edge", "cloud"]),
        cpus=draw.choice([1, 2, 4]),
        cpu_util=draw.choice([0, 10, 50, 85]),
        mem_total=draw.choice([1000, 1500, 2500]) if memory else 0,
        available=frozenset(t for t in PORTS if draw.random() < 0.9),
        cost_per_hour=draw.choice([0.1, 0.4, 1.0]),
        watts_idle=10,
        watts_busy=draw.choice([20, 60]),
    )


def world(draw: random.Random, kinds: dict[int, TypeView], asked: Graph, *, memory: bool) -> Snapshot:
    """Return nodes, and what was measured of them."""
    nodes = {n: node(draw, n, memory=memory) for n in range(1, draw.randint(2, 5) + 1)}
    pairs = [pair for pair in itertools.permutations(nodes, 2) if draw.random() < 0.4]
    return Snapshot(
        nodes=nodes,
        types=kinds,
        times={
            (work(h), n): Measured(ms=draw.uniform(1, 150), frames=draw.choice([3, 50, 1000]))
            for h in asked.handlers
            for n in nodes
            if draw.random() < 0.4
        },
        links={p: LinkView(latency_ms=draw.uniform(0.2, 40), bytes_per_s=draw.choice([None, 5e6, 1e8])) for p in pairs},
    )


def instance(seed: int, *, joins: bool, compete: bool, objective: Objective) -> tuple[Request, Snapshot]:
    """Return the instance of a seed: request and world. compete: memory is short, and frames come at a rate."""
    draw = random.Random(seed)
    asked = graph(draw, joins=joins)
    snapshot = world(draw, types(draw, memory=compete), asked, memory=compete)
    variant = Variant(variant_name="v", accuracy=None, topology=Topology(asked, PORTS))
    entry = draw.choice([None, *snapshot.nodes])
    rate = draw.choice([2.0, 5.0, 10.0]) if compete else None
    return Request(service="s", variants=(variant,), rate=rate, entry_node=entry, objective=objective), snapshot


def every(request: Request, snapshot: Snapshot) -> Iterator[Predicted]:
    """Yield what each feasible placement gives."""
    variant = request.variants[0]
    order, evaluator = variant.topology.order, Evaluator(variant, request, snapshot)
    index = evaluator.model.nodes.index
    for places in itertools.product(sorted(snapshot.nodes), repeat=len(order)):
        nodes = {h: (n,) for h, n in zip(order, places, strict=True)}
        entry = request.entry_node or nodes[variant.topology.entry][0]
        placement = Placement(nodes=nodes, entry_node=entry)
        decision = Decision(variant=variant, placement=placement, predicted=NOTHING, explanation=())
        try:
            check(decision, request, snapshot)
        except Unplaceable:
            continue
        outcome = evaluator.evaluate({h: (index[n],) for h, (n,) in nodes.items()}, index[entry])
        yield predicted(outcome, variant, priced=True)


def figure(objective: Objective, of: Predicted) -> float:
    """Return what the objective minimises."""
    figures = {Minimize.COST: of.cost_per_1000, Minimize.ENERGY: of.joules}
    found = figures.get(objective.minimize) if objective.minimize else None
    return of.latency_ms if found is None else found


def gaps(*, joins: bool, compete: bool, count: int, objective: Objective | None = None) -> list[float]:
    """Return for each instance that can be placed by which share layered_dp is worse than the best placement."""
    wish, found = objective or Objective(), []
    for seed in range(count):
        request, snapshot = instance(seed, joins=joins, compete=compete, objective=wish)
        best = min((figure(wish, p) for p in every(request, snapshot)), default=None)
        decision = placed(request, snapshot)
        if (best is None) != (decision is None):
            raise AssertionError(f"instance {seed}: {'no' if best is None else 'a'} placement is there")
        if best is not None and decision is not None:
            found.append(figure(wish, decision.predicted) / best - 1)
    return found


def placed(request: Request, snapshot: Snapshot) -> Decision | None:
    """Return what layered_dp decides, checked, or None when it finds no place."""
    try:
        decision = ALGORITHMS["layered_dp"]().allocate(request, snapshot, None)
    except Unplaceable:
        return None
    check(decision, request, snapshot)
    if decision.predicted != predict(request.variants[0], decision.placement, snapshot, request):
        raise AssertionError("what it predicts is not what the cost model says")
    return decision
