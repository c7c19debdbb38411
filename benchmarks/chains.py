"""Chains of 1, 2, 4 and 8 hops through real node daemons, against gunicorn + Flask + requests of the same length.

A chain of N hops has N + 1 handlers that do nothing, each on the other node than the one before; the baseline has
N + 1 processes. Both are driven by the same client with the same number of frames under way, which waits until the
end of the chain has its frame. Telemetry is off, as the baseline has none.
"""

import secrets
import statistics
from contextlib import ExitStack

from benchmarks.cluster import Cluster, alternating
from benchmarks.common import Outcome, Row, Say, Scale, cpu_of
from benchmarks.flask_chain import THREADS, FlaskChain
from benchmarks.load import Load

LENGTHS = (1, 2, 4, 8)
SIZES = (60_000, 921_600)
PROMISED = {(4, 60_000): 10.0, (4, 921_600): 5.0}
ROUND_S = {False: 1.0, True: 0.4}  # quick: how long one system is driven in one round


class System:
    """One chain under load."""

    def __init__(self, url: str, pids: list[int], size: int) -> None:
        self._load = Load(url, secrets.token_bytes(size), THREADS)
        self._pids = pids
        self._frames = 4 * THREADS

    def settle(self, seconds: float) -> None:
        """Warm up, and choose how many frames make a round of about *seconds*."""
        for _ in range(2):
            took = self._load.run(self._frames)
            self._frames = max(2 * THREADS, int(self._frames * min(8.0, seconds / took)))

    def round(self) -> dict[str, float]:
        """Return frames per second and CPU ms per frame."""
        before = cpu_of(self._pids)
        seconds = self._load.run(self._frames)
        return {"fps": self._frames / seconds, "cpu_ms": (cpu_of(self._pids) - before) / self._frames * 1e3}

    def close(self) -> None:
        """Close the connections."""
        self._load.close()


def measure(ours: System, theirs: System, scale: Scale) -> dict[str, float]:
    """Return medians of both systems, driven in turn, and of the ratio of each round."""
    for system in (ours, theirs):
        system.settle(ROUND_S[scale.quick])
    rounds = [(ours.round(), theirs.round()) for _ in range(scale.rounds)]
    return {
        "fps": statistics.median(a["fps"] for a, _ in rounds),
        "flask_fps": statistics.median(b["fps"] for _, b in rounds),
        "cpu_ms": statistics.median(a["cpu_ms"] for a, _ in rounds),
        "flask_cpu_ms": statistics.median(b["cpu_ms"] for _, b in rounds),
        "ratio": statistics.median(a["fps"] / b["fps"] for a, b in rounds),
    }


def run(cluster: Cluster, scale: Scale, say: Say) -> Outcome:
    """Measure all lengths and sizes; *cluster* knows the services echo1, echo2, ..."""
    rows, figures = [], {}
    for hops in LENGTHS:
        with ExitStack() as stack:
            baseline = FlaskChain(hops)
            stack.callback(baseline.close)
            pin = alternating(hops + 1)
            session = stack.enter_context(cluster.session(f"echo{hops}", pin, window=4 * THREADS))
            for size in SIZES:
                ours = System(session.session_url, cluster.pids(), size)
                stack.callback(ours.close)
                theirs = System(baseline.url, baseline.pids, size)
                stack.callback(theirs.close)
                found = measure(ours, theirs, scale)
                figures[f"{hops} hops, {size} B"] = found
                rows.append(_row(hops, size, found))
                say(f"{rows[-1].what}: {rows[-1].value:.1f} x ({rows[-1].note})")
    return Outcome(rows, figures)


def _row(hops: int, size: int, found: dict[str, float]) -> Row:
    note = (
        f"{found['fps']:.0f} against {found['flask_fps']:.0f} frames/s; "
        f"CPU {found['cpu_ms']:.2f} against {found['flask_cpu_ms']:.2f} ms a frame"
    )
    what = f"chain of {hops} hop{'s' * (hops > 1)}, {size} B: frames/s over Flask's"
    return Row(what, found["ratio"], "x", at_least=PROMISED.get((hops, size)), note=note)
