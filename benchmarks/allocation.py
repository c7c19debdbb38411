"""How long a decision takes: one session of 6 handlers in 4 variants on 100, 1,000 and 10,000 nodes in 20 zones.

    python3 -m benchmarks.allocation [--nodes 100,1000,10000] [--decisions 100] [--links 200] [--algorithms layered_dp]
    python3 -m benchmarks.allocation --gap [--instances 200]     (how far from the best of all placements)

Each decision begins with a fresh snapshot, so making its arrays is counted; making the snapshot itself from heartbeats
is not. Some nodes are down, full, or lack a type; some service times and links are measured (--links 0: all links go by
zone). `minimize latency`, so that every variant is placed or ruled out. CPU time of this process, for the machine may
do other things too; the first decisions are not counted, for BLAS's threads spin while they start.
"""

import argparse
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.exhaustive import gaps
from coordinator.allocation import ALGORITHMS
from coordinator.allocation.base import LinkView, Measured, NodeView, Request, Snapshot, TypeView, Variant, work
from coordinator.allocation.decide import decide
from wire.graph import Topology
from wire.messages import Graph, HandlerSpec, Link, Minimize, Objective, ResultSpec

ZONES, HANDLERS, VARIANTS = 20, 6, 4
WARM_UP = 10  # decisions
MEASURED, LINKED = 200, 200  # service times and links at most
GOAL_MS = {100: 5, 1000: 20, 10000: 200}
GOAL_GAP_PERCENT = {False: 0.01, True: 2.0}  # by whether handlers compete; the first is rounding
JOIN = 99  # the last handler: draws the boxes into the picture


def types() -> dict[int, TypeView]:
    """Return the handler types: four variants of the second and third step, one join."""
    kinds = {
        t: TypeView(
            handler_type=t,
            name=f"type{t}",
            service_ms=2.0 + 13 * (t % 7),
            memory_mib=80 + 10 * (t % 5),
            outputs=("Image" if t % HANDLERS < 2 else "Boxes",),
        )
        for t in range(HANDLERS * VARIANTS)
    }
    return kinds | {JOIN: TypeView(handler_type=JOIN, name="join", service_ms=3.0, memory_mib=50, outputs=("Image",))}


def variant(number: int, *, join: bool) -> Variant:
    """Return a chain of handlers, or one whose last handler joins the first's picture with the boxes."""
    kinds = [number * HANDLERS + i for i in range(HANDLERS)]
    if join:
        kinds[-1] = JOIN
    handlers = [HandlerSpec(handler_id=i, handler_type=t) for i, t in enumerate(kinds)]
    links = [Link(source_handler=i, target_handler=i + 1, target_input=int(join and i + 2 == HANDLERS))
             for i in range(HANDLERS - 1)]  # fmt: skip
    if join:
        links.append(Link(source_handler=0, target_handler=HANDLERS - 1, target_input=0))
    ports = dict.fromkeys(range(HANDLERS * VARIANTS), (1, 1)) | {JOIN: (2, 1)}
    graph = Graph(handlers=handlers, links=links, results=[ResultSpec(handler_id=HANDLERS - 1)])
    return Variant(variant_name=f"v{number}", accuracy=0.9, topology=Topology(graph, ports))


def node(draw: random.Random, node_id: int, kinds: frozenset[int]) -> NodeView:
    """Return a node of any kind there is."""
    return NodeView(
        node_id=node_id,
        zone=f"zone{node_id % ZONES}",
        refuses="is down" if draw.random() < 0.02 else None,
        cpus=draw.choice([2, 4, 8, 16]),
        cpu_util=draw.uniform(0, 95),
        mem_total=draw.choice([2000, 8000, 32000]),
        mem_util=draw.uniform(10, 95),
        available=kinds if draw.random() < 0.8 else kinds - {draw.choice(sorted(kinds))},
    )


def world(draw: random.Random, count: int, variants: list[Variant], linked: int = LINKED) -> Snapshot:
    """Return *count* nodes; some times and *linked* links at most are measured."""
    kinds = types()
    nodes = {n: node(draw, n, frozenset(kinds)) for n in range(count)}
    steps = [h for v in variants for h in v.topology.handlers.values()]
    chosen = draw.sample(range(count), min(count, 50))
    times = {(work(draw.choice(steps)), draw.choice(chosen)): Measured(ms=draw.uniform(2, 120), frames=300)
             for _ in range(MEASURED)}  # fmt: skip
    links = {(draw.choice(chosen), draw.choice(chosen)): LinkView(latency_ms=draw.uniform(0.2, 30), bytes_per_s=5e7)
             for _ in range(linked)}  # fmt: skip
    return Snapshot(nodes=nodes, types=kinds, times=times, links=links)


def measure(
    algorithm: str, count: int, decisions: int, rate: float | None, linked: int = LINKED, *, join: bool
) -> dict[str, Any]:
    """Return p50, p95 and the worst of the decision times in ms."""
    variants = [variant(n, join=join) for n in range(VARIANTS)]
    took = []
    for seed in range(-WARM_UP, decisions):
        snapshot = world(random.Random(seed), count, variants, linked)
        request = Request(
            service="s", variants=tuple(variants), rate=rate, objective=Objective(minimize=Minimize.LATENCY), seed=seed
        )
        begun = time.process_time()
        decide(ALGORITHMS[algorithm](), request, msgspec.structs.replace(snapshot))
        took.append((time.process_time() - begun) * 1000)
    took = sorted(took[WARM_UP:])
    return {
        "algorithm": algorithm,
        "nodes": count,
        "graph": "join" if join else "chain",
        "rate": rate,
        "links": linked,
        "p50_ms": round(took[len(took) // 2], 2),
        "p95_ms": round(took[min(len(took) - 1, int(len(took) * 0.95))], 2),
        "max_ms": round(took[-1], 2),
        "goal_ms": GOAL_MS.get(count),
    }


def measure_gap(instances: int) -> list[dict[str, Any]]:
    """Return by which share layered_dp is worse than the best of all placements, on small seeded random instances."""
    rows = []
    for compete in (False, True):
        for joins in (False, True):
            found = gaps(joins=joins, compete=compete, count=instances)
            rows.append(
                {
                    "graph": "join" if joins else "chain",
                    "compete": compete,
                    "placed": len(found),
                    "median_percent": round(100 * statistics.median(found), 4),
                    "mean_percent": round(100 * statistics.mean(found), 4),
                    "worst_percent": round(100 * max(found), 4),
                    "goal_mean_percent": GOAL_GAP_PERCENT[compete],
                }
            )
    return rows


def show_gap(rows: list[dict[str, Any]]) -> None:
    """Print a row per kind of instance."""
    print(f"{'graph':7}{'compete':>9}{'placed':>8}{'median %':>10}{'mean %':>9}{'worst %':>9}{'goal, mean %':>14}")
    for r in rows:
        verdict = "pass" if r["mean_percent"] <= r["goal_mean_percent"] and r["median_percent"] < 0.01 else "FAIL"
        print(f"{r['graph']:7}{'yes' if r['compete'] else 'no':>9}{r['placed']:8}{r['median_percent']:10.3f}"
              f"{r['mean_percent']:9.3f}{r['worst_percent']:9.3f}{r['goal_mean_percent']:14} {verdict}")  # fmt: skip


def main() -> None:
    """Print a row per algorithm and number of nodes, or per kind of small instance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", default="100,1000,10000")
    parser.add_argument("--decisions", type=int, default=100)
    parser.add_argument("--links", type=int, default=LINKED, help="so many are measured at most")
    parser.add_argument("--algorithms", default="layered_dp")
    parser.add_argument("--gap", action="store_true", help="compare with every placement of small instances instead")
    parser.add_argument("--instances", type=int, default=200, help="of each kind, for --gap")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.gap:
        rows = measure_gap(args.instances)
        show_gap(rows)
    else:
        rows = measure_all(args)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def measure_all(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure and print how long decisions take."""
    rows = []
    print(f"{'algorithm':14}{'nodes':>7}{'graph':>7}{'frames/s':>10}{'p50 ms':>9}{'p95 ms':>9}{'max ms':>9}{'goal':>7}")
    for name in args.algorithms.split(","):
        for count in map(int, args.nodes.split(",")):
            for join, rate in ((False, None), (True, None), (True, 10.0)):
                row = measure(name, count, args.decisions, rate, args.links, join=join)
                rows.append(row)
                print(f"{name:14}{count:7}{row['graph']:>7}{rate or '-':>10}"
                      f"{row['p50_ms']:9}{row['p95_ms']:9}{row['max_ms']:9}{row['goal_ms'] or '-':>7}")  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
