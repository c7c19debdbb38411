"""The collector's Prometheus metrics; wire.metrics sums them over its worker processes."""

from prometheus_client import Counter, Gauge, Histogram

from collector.rows import COLUMNS
from wire.messages import Report

WAITING = Gauge("faceservice_collector_waiting_reports", "Reports not yet answered", multiprocess_mode="livesum")
COMMIT = Histogram(
    "faceservice_collector_commit_seconds",
    "Time to write what waited, in one transaction where all is well",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
_reports = Counter("faceservice_collector_reports", "Reports by what became of them", ["outcome"])
_rows = Counter("faceservice_collector_rows", "Rows of stored reports, repeats too", ["table"])
_deleted = Counter("faceservice_collector_deleted_rows", "Rows that were too old", ["table"])


def stored(report: Report) -> None:
    """Count a committed report with its rows."""
    _reports.labels("stored").inc()
    for table in COLUMNS:
        number = len(getattr(report, table))
        if number:
            _rows.labels(table).inc(number)


def failed(error: Exception) -> None:
    """Count a report that was not committed, by the kind of *error*."""
    _reports.labels(type(error).__name__.lower()).inc()


def deleted(table: str, number: int) -> None:
    """Count rows that left *table*."""
    _deleted.labels(table).inc(number)
