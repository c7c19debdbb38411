"""What telemetry of every frame costs: CPU per frame of all processes of the nodes, with it and without it."""

import statistics
from contextlib import ExitStack

from benchmarks.cluster import Cluster
from benchmarks.common import Outcome, Row, Say, Scale, median_of
from benchmarks.faces import PIN, UNDER_WAY, Chain, photo

AT_MOST_PERCENT = 3.0


def measure(on: Cluster, off: Cluster, service: str, frames: int, rounds: int) -> dict[str, float]:
    """Return medians of both, driven in turn, and of each round's difference in %."""
    with ExitStack() as stack:
        chains = []
        for cluster in (on, off):
            session = stack.enter_context(cluster.session(service, PIN, window=UNDER_WAY))
            chains.append(Chain(session.session_url, cluster.pids(), photo()))
            stack.callback(chains[-1].close)
        table = []
        for _ in range(rounds):
            with_it, without = (chain.round(frames)["cpu_ms"] for chain in chains)
            table.append({"on_ms": with_it, "off_ms": without, "percent": (with_it / without - 1) * 100})
    spread = {"least": min(r["percent"] for r in table), "most": max(r["percent"] for r in table)}
    return median_of(table) | spread | {"mean_percent": statistics.mean(r["percent"] for r in table)}


def run(on: Cluster, off: Cluster, scale: Scale, say: Say) -> Outcome:
    """Measure with Haar as shipped and with a light Haar."""
    rows, figures = [], {}
    for service, frames in (("faces", scale.pick(24, 8)), ("faces_light", scale.pick(120, 40))):
        found = measure(on, off, service, frames, scale.rounds)
        figures[service] = found
        rounds = f"rounds {found['least']:.1f} to {found['most']:.1f} %"
        note = f"{found['on_ms']:.1f} against {found['off_ms']:.1f} ms a frame; {rounds}"
        name = "Haar chain" if service == "faces" else "light Haar chain"
        limit = AT_MOST_PERCENT if service == "faces" else None
        rows.append(Row(f"telemetry of every frame, {name}: CPU more", found["percent"], "%", at_most=limit, note=note))
        say(f"{rows[-1].what}: {rows[-1].value:.1f} % ({note})")
    return Outcome(rows, figures)
