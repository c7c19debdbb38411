"""How far layered_dp is from the best joint placement: python3 -m simulator.gap [--count 200] [--out FOLDER].

Small random instances: two or three sessions at a rate on three or four nodes. layered_dp places them one after the
other, as they come, each in the world as those before it leave it; cpsat places them all at once. Both are judged by
the same cost model: the sum of the predicted latencies, each session under the load of the others.
"""

import argparse
import json
import random
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.progress import track

from coordinator.allocation.base import (
    LinkView,
    NodeView,
    Placement,
    Request,
    Snapshot,
    TypeView,
    Unplaceable,
    Variant,
)
from coordinator.allocation.cpsat import jointly
from coordinator.allocation.layered_dp import LayeredDp
from coordinator.allocation.loads import Loads, Promise
from coordinator.allocation.predict import predict
from coordinator.allocation.search import Search
from wire.graph import Topology
from wire.messages import Graph, HandlerSpec, Link, Objective, ResultSpec

KINDS, LIMIT_S = 5, 4.0
FULL = 0.9  # of the cores, from which on an instance says nothing: nothing fits well

Placements = Sequence[Placement]


def instance(seed: int) -> tuple[list[Request], Snapshot]:
    """Return the sessions and the world of a seed."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    kinds = {
        t: TypeView(
            handler_type=t, name=f"type{t}", service_ms=draw.choice([5, 15, 40, 90]),
            memory_mib=draw.choice([100, 400]), outputs=(draw.choice(["Image", "Boxes", "Encoded"]),),
        )
        for t in range(KINDS)
    }  # fmt: skip
    nodes = {
        n: NodeView(
            node_id=n, zone=draw.choice(["edge", "edge", "cloud"]), cpus=draw.choice([1, 2, 4]),
            cpu_util=draw.choice([0, 10, 30]), mem_total=draw.choice([1000, 2000, 4000]), available=frozenset(kinds),
        )
        for n in range(1, draw.randint(3, 4) + 1)
    }  # fmt: skip
    links = {
        (a, b): LinkView(latency_ms=draw.uniform(0.2, 20), bytes_per_s=draw.choice([1e7, 1e8]))
        for a in nodes for b in nodes if a != b and draw.random() < 0.3
    }  # fmt: skip
    requests = [_request(draw, i, kinds, nodes) for i in range(draw.randint(2, 3))]
    return requests, Snapshot(nodes=nodes, types=kinds, links=links)


def _request(draw: random.Random, number: int, kinds: dict[int, TypeView], nodes: dict[int, NodeView]) -> Request:
    count = draw.randint(2, 4)
    handlers = [HandlerSpec(handler_id=i, handler_type=draw.choice(sorted(kinds))) for i in range(count)]
    links = [Link(source_handler=i, target_handler=i + 1) for i in range(count - 1)]
    graph = Graph(handlers=handlers, links=links, results=[ResultSpec(handler_id=count - 1)])
    topology = Topology(graph, dict.fromkeys(kinds, (1, 1)))
    return Request(
        service=f"s{number}",
        variants=(Variant(variant_name="v", accuracy=None, topology=topology),),
        rate=draw.choice([1.0, 2.0, 4.0]),
        entry_node=draw.choice([None, *nodes]),
    )


def gap(seed: int) -> float | None:
    """Return by which share one after the other is worse than jointly; None where layered_dp places not all."""
    requests, world = instance(seed)
    try:
        greedy = in_turn(requests, world)
    except Unplaceable:
        return None
    first = total_ms(requests, greedy, world)
    if max(_loads(requests, greedy, world).utilisation()) > FULL:
        return None
    best = first
    searches = [Search(r, r.variants[0], world, None) for r in requests]
    index = searches[0].nodes.index
    hints = [{h: tuple(index[n] for n in ns) for h, ns in p.nodes.items()} for p in greedy]
    found = jointly(searches, hints, LIMIT_S)
    if found is not None:
        joint = [s.decision(nodes, lambda _: "").placement for s, nodes in zip(searches, found, strict=True)]
        best = min(best, total_ms(requests, joint, world))
    return first / best - 1


def in_turn(requests: Sequence[Request], world: Snapshot) -> list[Placement]:
    """Return where layered_dp puts the sessions as they come. Raises Unplaceable."""
    placed: list[Placement] = []
    for request in requests:
        left = _memory_left(requests, placed, _loads(requests, placed, world).under())
        placed.append(LayeredDp().allocate(request, left, None).placement)
    return placed


def total_ms(requests: Sequence[Request], placements: Placements, world: Snapshot) -> float:
    """Return the sum of the latencies that the cost model expects."""
    loads = _loads(requests, placements, world)
    return sum(
        predict(r.variants[0], p, loads.under(without={i}), r).latency_ms
        for i, (r, p) in enumerate(zip(requests, placements, strict=True))
    )


def _loads(requests: Sequence[Request], placements: Placements, world: Snapshot) -> Loads:
    pairs = zip(requests, placements, strict=False)
    return Loads(world, [
        Promise(session_id=i, variant=r.variants[0], placement=p, objective=Objective(min_fps=r.rate))
        for i, (r, p) in enumerate(pairs)
    ])  # fmt: skip


def _memory_left(requests: Sequence[Request], placements: Placements, world: Snapshot) -> Snapshot:
    """Return *world* with the memory taken that the sessions placed need."""
    taken: dict[int, float] = {}
    for request, placement in zip(requests, placements, strict=False):
        for h, spec in request.variants[0].topology.handlers.items():
            for n in placement.nodes[h]:
                taken[n] = taken.get(n, 0.0) + (world.types[spec.handler_type].memory_mib or 0.0)
    views = {
        n: msgspec.structs.replace(v, mem_util=v.mem_util + 100 * taken.get(n, 0.0) / v.mem_total)
        for n, v in world.nodes.items()
    }
    return msgspec.structs.replace(world, nodes=views)


def main(arguments: list[str] | None = None) -> int:
    """Print median, mean and worst, and write gaps.json and gap.png where asked."""
    parser = argparse.ArgumentParser(prog="simulator.gap", description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=200, help="instances (200)")
    parser.add_argument("--out", type=Path, help="folder for gaps.json and gap.png")
    args = parser.parse_args(arguments)
    found: list[float] = []
    seeds = iter(range(10 * args.count))
    for _ in track(range(args.count), description="instances"):
        found.append(next(g for seed in seeds if (g := gap(seed)) is not None))
    said = f"{len(found)} instances: median {statistics.median(found):.2%}, mean {statistics.mean(found):.2%}"
    said += f", 95 % of them at most {sorted(found)[int(0.95 * (len(found) - 1))]:.2%}, worst {max(found):.2%}"
    sys.stdout.write(said + "\n")
    if args.out:
        from simulator import plots

        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "gaps.json").write_text(json.dumps([round(g, 6) for g in found]) + "\n", encoding="utf-8")
        plots.distribution(args.out / "gap.png", found, "layered_dp against the joint optimum")
    return 0


if __name__ == "__main__":
    sys.exit(main())
