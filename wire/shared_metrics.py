"""Metrics of a daemon with several worker processes: files in a folder of their own, summed when somebody asks.

It imports no metrics: prometheus_client looks for the folder when it is imported, so that must happen after `folder`.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def folder() -> Iterator[str]:
    """Have the processes that are forked from this one share their metrics; the folder goes at the end."""
    with tempfile.TemporaryDirectory(prefix="faceservice-metrics-", ignore_cleanup_errors=True) as path:
        os.environ[VARIABLE] = path
        try:
            yield path
        finally:
            os.environ.pop(VARIABLE, None)
