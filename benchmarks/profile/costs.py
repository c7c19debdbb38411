"""What a frame costs in a variant: photos posted one after the other to a session on a node of its own."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import psutil

from benchmarks.cluster import Cluster
from benchmarks.common import cpu_of
from benchmarks.faces import photo
from benchmarks.memory import pss_mb
from benchmarks.profile.system import session

WARM_UP, LEAST, MOST, BUDGET_S = 2, 5, 60, 1.5


def cost(cluster: Cluster, service: str, variant: str, step: Callable[[], None], *, quick: bool) -> dict[str, Any]:
    """Return the median latency, the CPU of all handlers' processes per frame, and their memory after it."""
    picture = photo()
    with session(cluster, service, variant) as (post, session_id):
        pids = list(cluster.handlers(session_id).values())
        for _ in range(WARM_UP):
            post(picture)
        step()
        latencies: list[float] = []
        before, begin = cpu_of(pids), time.monotonic()
        least, budget_s = (3, 0.0) if quick else (LEAST, BUDGET_S)
        while len(latencies) < least or (time.monotonic() - begin < budget_s and len(latencies) < MOST):
            latencies.append(post(picture)["latency_ms"])
        return {
            "latency_ms": median(latencies),
            "cpu_ms": (cpu_of(pids) - before) / len(latencies) * 1000,
            "mem_mb": pss_mb([psutil.Process(pid) for pid in pids]),
            "frames": len(latencies),
        }
