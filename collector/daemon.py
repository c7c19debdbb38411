"""The collector: agents' reports into the database."""

import logging
import os
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

from flask import Flask

from collector.nodes import by_address, read_nodes
from wire.database import DatabaseAway, check, connect
from wire.faults import SettingsError
from wire.serving import CannotBind, bind, serve, url_of
from wire.settings import CollectorSettings, DatabaseSettings, Settings

if TYPE_CHECKING:
    from collector.app import Worker

WORKERS = 2
THREADS = 16  # requests that may wait for one commit, per worker
WRONG_CONFIG, AWAY = 2, 3  # exit statuses
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

logger = logging.getLogger(__name__)


def run(settings: Settings) -> int:
    """Serve until SIGTERM and return the exit status: 2 wrong resource file, 3 database away or port in use."""
    if settings.collector is None or settings.database is None:
        logger.error("%s: no [collector] section", settings.path)
        return WRONG_CONFIG
    try:
        addresses = by_address(read_nodes(settings.collector.node_path))
        _check_database(settings.database)
        listener = bind(settings.collector.collector_addr, settings.collector.collector_port)
    except SettingsError as error:
        for fault in error.faults:
            logger.error("%s", fault)
        return WRONG_CONFIG
    except (DatabaseAway, CannotBind) as error:
        logger.error("collector: %s", error)
        return AWAY
    processes = _Processes(settings.collector, settings.database, settings.security.token, addresses)
    with tempfile.TemporaryDirectory(prefix="faceservice-metrics-") as folder:
        os.environ[METRICS_FOLDER] = folder  # before anything imports the metrics library
        return serve(
            processes.make_app,
            listener,
            workers=WORKERS,
            threads=THREADS,
            ready_line=f"collector ready on {url_of(listener, settings.collector.collector_addr)}",
            on_worker_stop=processes.stop,
        )


def _check_database(settings: DatabaseSettings) -> None:
    """Raise DatabaseAway unless the database can be used; leave no connection behind for the workers to inherit."""
    engine = connect(settings)
    try:
        check(engine)
    finally:
        engine.dispose()


class _Processes:
    """Makes the worker's parts in each worker process, after the fork."""

    def __init__(
        self, settings: CollectorSettings, database: DatabaseSettings, token: str | None, addresses: Mapping[str, int]
    ) -> None:
        self._settings, self._database, self._token, self._addresses = settings, database, token, addresses
        self._worker: Worker | None = None

    def make_app(self) -> Flask:
        from collector.app import Worker  # here: it imports the metrics library, which reads its folder once

        self._worker = Worker(self._settings, self._database)
        return self._worker.start(self._token, self._addresses)

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()
