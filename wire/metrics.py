"""Prometheus metrics of the control APIs; one sum over all worker processes of a daemon.

With several workers each writes files into the folder of wire.shared_metrics.
"""

import os
import re
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Histogram, generate_latest, multiprocess
from prometheus_client.registry import Collector

from wire.shared_metrics import VARIABLE

CONTENT_TYPE = CONTENT_TYPE_LATEST

_requests = Histogram(
    "faceservice_request_seconds",
    "Time to answer a request of the control API",
    ["method", "rule", "status"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
)


def observe(method: str, rule: str, status: int, seconds: float) -> None:
    """Count a request."""
    _requests.labels(method, rule, str(status)).observe(seconds)


def add(figures: Collector) -> None:
    """Show what *figures* collects too; for daemons with one worker process."""
    REGISTRY.register(figures)


def text() -> bytes:
    """Return all metrics of this daemon in the text format."""
    if VARIABLE not in os.environ:
        return generate_latest(REGISTRY)
    _forget_dead(Path(os.environ[VARIABLE]))
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _forget_dead(folder: Path) -> None:
    """Remove what killed workers held when they died; what they counted stays."""
    for file in folder.glob("gauge_live*.db"):
        pid = re.search(r"_(\d+)\.db$", file.name)
        if pid is not None and not Path(f"/proc/{pid[1]}").exists() and Path("/proc/self").exists():
            file.unlink(missing_ok=True)
