"""The collector: agents' reports into the database."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from collector.nodes import configured
from wire import shared_metrics, structs
from wire.database import check, connect
from wire.faults import Fault, SettingsError
from wire.guard import Guard, access_of, make_guard, renew
from wire.resources import load_nodes
from wire.serving import bind, serve, url_of
from wire.settings import CollectorSettings, DatabaseSettings, Settings

if TYPE_CHECKING:
    from flask import Flask

    from collector.app import Worker

WORKERS = 2
THREADS = 16  # requests that may wait for one commit, per worker


def run(settings: Settings) -> int:
    """Serve until SIGTERM and return the exit status.

    Raises SettingsError for an unreadable resource file, DatabaseAway and PortInUse before anything is served.
    """
    with shared_metrics.folder():
        return _run(settings)


def _run(settings: Settings) -> int:
    if settings.collector is None or settings.database is None:
        raise SettingsError([Fault(settings.path, "is missing", "collector")])
    addresses = configured(load_nodes(settings.collector.node_path))
    _check_database(settings.database)
    listener = bind(settings.collector.collector_addr, settings.collector.collector_port)
    guard = make_guard(settings.security)  # each worker has a copy of its own
    processes = _Processes(settings.collector, settings.database, guard, addresses)
    return serve(
        processes.make_app,
        listener,
        workers=WORKERS,
        threads=THREADS,
        ready_line=f"collector ready on {url_of(listener, settings.collector.collector_addr, guard.scheme)}",
        on_worker_stop=processes.stop,
        on_hangup=lambda: renew(settings, lambda found: access_of(found.security), guard.take),
        tls=guard.tls,
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
        self, settings: CollectorSettings, database: DatabaseSettings, guard: Guard, addresses: Mapping[str, int]
    ) -> None:
        self._settings, self._database, self._guard, self._addresses = settings, database, guard, addresses
        self._worker: Worker | None = None

    def make_app(self) -> "Flask":
        from collector.app import Worker  # its metrics are those of this process

        structs.learn()
        self._worker = Worker(self._settings, self._database)
        return self._worker.start(self._guard, self._addresses)

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()
