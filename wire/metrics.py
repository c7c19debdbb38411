"""Prometheus metrics of the control APIs; one sum over all worker processes of a daemon.

With several workers each writes files below PROMETHEUS_MULTIPROC_DIR, which must be set before this is imported.
"""

import os

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Histogram, generate_latest, multiprocess
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"

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
    if MULTIPROCESS not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
