"""What 4 hops add to a frame's latency at 30 frames per second: from the client's post to its answer, p50, p95, p99.

The handlers' own time, as the frame's trace has it, is taken off (they do nothing, so that is little).
"""

import secrets
import statistics

import msgspec

from benchmarks.cluster import Cluster, alternating
from benchmarks.common import Outcome, Row, Say, Scale, median_of, quantile
from benchmarks.load import Answered, Load

HOPS, SIZE, FPS = 4, 60_000, 30.0
P99_MS = 5.0


def overhead_ms(answered: Answered) -> float:
    """Return the latency of a frame without the time in its handlers, in ms."""
    trace = msgspec.json.decode(answered.body)["trace"]
    return float(answered.seconds - sum(span["end"] - span["start"] for span in trace)) * 1e3


def run(cluster: Cluster, scale: Scale, say: Say) -> Outcome:
    """Measure in several parts; each has its own quantiles, the medians of which count."""
    parts = []
    with cluster.session(f"echo{HOPS}", alternating(HOPS + 1)) as session:
        load = Load(session.session_url, secrets.token_bytes(SIZE), 8)
        load.pace(30, FPS)
        for _ in range(scale.rounds):
            values = [overhead_ms(a) for a in load.pace(scale.pick(240, 90), FPS)]
            parts.append({f"p{q}_ms": quantile(values, q / 100) for q in (50, 95, 99)} | {"worst_ms": max(values)})
        load.close()
    found = median_of(parts)
    spread = f"p99 of the parts {min(p['p99_ms'] for p in parts):.1f} to {max(p['p99_ms'] for p in parts):.1f} ms"
    note = f"p50 {found['p50_ms']:.2f}, p95 {found['p95_ms']:.2f} ms; {spread}"
    row = Row(
        f"p99 latency of {HOPS} hops at {FPS:.0f} fps, {SIZE} B", found["p99_ms"], "ms", at_most=P99_MS, note=note
    )
    say(f"{row.what}: {row.value:.2f} ms ({note})")
    return Outcome([row], {"median": found, "parts": parts, "mean_p50_ms": statistics.mean(p["p50_ms"] for p in parts)})
