"""What telemetry of every frame costs: CPU per frame of all processes of the nodes, with it and without it.

Two systems, one with telemetry and one without, are driven at the same time: whatever else the machine does slows
both. Handlers make up nearly all of the CPU, and theirs varies more than telemetry costs; so the part of the other
processes (agents and gateways) is shown apart.
"""

import statistics
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from benchmarks.cluster import Cluster
from benchmarks.common import Outcome, Row, Say, Scale, cpu_of, median_of
from benchmarks.faces import PIN, UNDER_WAY, Chain, photo

AT_MOST_PERCENT = 3.0


class Side:
    """One system under load."""

    def __init__(self, cluster: Cluster, service: str, stack: ExitStack) -> None:
        session = stack.enter_context(cluster.session(service, PIN, window=UNDER_WAY))
        self._chain = Chain(session.session_url, cluster.pids(), photo())
        stack.callback(self._chain.close)
        self._rest = sorted(set(cluster.pids()) - set(cluster.handlers(session.session_id).values()))

    def round(self, frames: int) -> tuple[float, float]:
        """Return CPU ms per frame: of all processes of the nodes, and of those that are no handlers."""
        before = cpu_of(self._rest)
        every = self._chain.round(frames)["cpu_ms"]
        return every, (cpu_of(self._rest) - before) / frames * 1e3


def measure(on: Cluster, off: Cluster, service: str, frames: int, rounds: int) -> dict[str, float]:
    """Return medians of both, and of each round's difference in % of what runs without telemetry."""
    table = []
    with ExitStack() as stack:
        sides = [Side(cluster, service, stack) for cluster in (on, off)]
        pool = stack.enter_context(ThreadPoolExecutor(2))
        for _ in range(rounds):
            (with_it, rest_with), (without, rest_without) = pool.map(lambda side: side.round(frames), sides)
            row = {"on_ms": with_it, "off_ms": without, "percent": (with_it / without - 1) * 100}
            row |= {"rest_on_ms": rest_with, "rest_off_ms": rest_without}
            table.append(row | {"rest_percent": (rest_with - rest_without) / without * 100})
    spread = {"least": min(r["percent"] for r in table), "most": max(r["percent"] for r in table)}
    return median_of(table) | spread | {"mean_percent": statistics.mean(r["percent"] for r in table)}


def run(on: Cluster, off: Cluster, scale: Scale, say: Say) -> Outcome:
    """Measure with Haar as shipped and with a light Haar."""
    rows: list[Row] = []
    figures = {}
    for service, frames in (("faces", scale.pick(24, 12)), ("faces_light", scale.pick(80, 40))):
        figures[service] = found = measure(on, off, service, frames, scale.rounds + 2)
        rows += _rows(service, found)
        for row in rows[-2:]:
            say(f"{row.what}: {row.value:.1f} % ({row.note})")
    return Outcome(rows, figures)


def _rows(service: str, found: dict[str, float]) -> list[Row]:
    name = "Haar chain" if service == "faces" else "light Haar chain"
    limit = AT_MOST_PERCENT if service == "faces" else None
    note = (
        f"{found['on_ms']:.1f} against {found['off_ms']:.1f} ms; rounds {found['least']:.1f} to {found['most']:.1f} %"
    )
    rest = f"{found['rest_on_ms']:.2f} against {found['rest_off_ms']:.2f} ms a frame"
    return [
        Row(f"telemetry of every frame, {name}: CPU more", found["percent"], "%", at_most=limit, note=note),
        Row("of that, agents and gateways", found["rest_percent"], "%", note=rest),
    ]
