"""Memory of the nodes' processes (sum of PSS) while frames go through an echo chain, and of each handler's process."""

import secrets
from typing import Any

import numpy as np
import psutil

from benchmarks.cluster import Cluster, alternating
from benchmarks.common import Outcome, Row, Say, Scale
from benchmarks.faces import PIN, UNDER_WAY, photo
from benchmarks.load import Load

HOPS, SIZE = 1, 60_000
FIRST = 1000  # frames: what is compared with
SAMPLES = 40
NAMES = ("decode", "detect", "draw", "encode")  # of the Haar chain
GROWTH, SLOPE_PERCENT = 1.05, 1.0


def pss_mb(processes: list[psutil.Process]) -> float:
    """Return the sum of the proportional set sizes in MB."""
    return float(sum(p.memory_full_info().pss for p in processes)) / 1e6


def slope(frames: list[int], megabytes: list[float]) -> float:
    """Return the growth of the second half in % of its mean per 100,000 frames (least squares)."""
    half = len(frames) // 2
    gradient = np.polyfit(frames[half:], megabytes[half:], 1)[0]
    return float(gradient * 1e5 / np.mean(megabytes[half:]) * 100)


def grow(cluster: Cluster, frames: int) -> tuple[list[int], list[float]]:
    """Return (frames so far, MB) of samples while *frames* frames go through."""
    counts, megabytes, done = [], [], 0
    with cluster.session(f"echo{HOPS}", alternating(HOPS + 1)) as session:
        load = Load(session.session_url, secrets.token_bytes(SIZE), 8)
        processes = cluster.processes()
        step = max(200, (frames - FIRST) // SAMPLES)
        while done < frames:
            count = FIRST if not done else step
            load.run(count)
            done += count
            counts.append(done)
            megabytes.append(pss_mb(processes))
        load.close()
    return counts, megabytes


def per_handler(cluster: Cluster) -> dict[str, float]:
    """Return the PSS in MB of each handler's process of the Haar chain after some frames."""
    with cluster.session("faces", PIN, window=UNDER_WAY) as session:
        load = Load(session.session_url, photo(), 2, accept="image/jpeg")
        load.run(4)
        load.close()
        found = {name: pss_mb([psutil.Process(pid)]) for name, pid in cluster.handlers(session.session_id).items()}
    return {f"{NAMES[int(name[0])]}{name[1:]}": mb for name, mb in found.items()}


def run(cluster: Cluster, scale: Scale, say: Say) -> Outcome:
    """Measure both."""
    counts, megabytes = grow(cluster, scale.pick(100_000, 8_000))
    growth, gradient = megabytes[-1] / megabytes[0], slope(counts, megabytes)
    handlers = per_handler(cluster)
    figures: dict[str, Any] = {"frames": counts, "mb": megabytes, "per_handler_mb": handlers}
    note = f"{megabytes[0]:.1f} MB after {counts[0]}, {megabytes[-1]:.1f} after {counts[-1]}, most {max(megabytes):.1f}"
    promised = SLOPE_PERCENT if not scale.quick else None  # a short run is all warm-up
    rows = [
        Row(f"memory after {counts[-1]} frames over {counts[0]}", growth, "x", at_most=GROWTH, note=note),
        Row("its slope in the second half, per 100,000 frames", gradient, "%", at_most=promised),
        Row(
            "memory of a handler's process, the largest of the Haar chain",
            max(handlers.values()),
            "MB",
            note=", ".join(f"{name} {mb:.0f}" for name, mb in handlers.items()),
        ),
    ]
    for row in rows:
        say(f"{row.what}: {row.value:.2f} {row.unit} ({row.note})")
    return Outcome(rows, figures)
