"""Start the coordinator: everything it depends on is checked first, and named when it is not there."""

import logging
import sys

from flask import Flask

from coordinator.allocation import AlgorithmError, load_algorithms
from coordinator.allocation.base import Algorithm
from coordinator.app import Coordinator
from coordinator.catalogue import Catalogue
from coordinator.counters import DECISION
from coordinator.timed import Timed
from wire import database
from wire.database import DatabaseAway
from wire.faults import Fault, SettingsError, guess
from wire.guard import Access, access_of, make_guard, renew
from wire.serving import CannotBind, bind, serve, url_of
from wire.settings import CoordinatorSettings, DatabaseSettings, Settings

THREADS = 64  # a session's creation holds one until its handlers have prepared
WRONG_CONFIG, AWAY = 2, 3

logger = logging.getLogger(__name__)


def run(settings: Settings) -> int:
    """Serve until SIGTERM and return the exit status: 0, 2 (wrong config or resources), 3 (database or port away)."""
    own, database_settings = settings.coordinator, settings.database
    if own is None or database_settings is None:
        return _end(WRONG_CONFIG, f"{settings.path}: there is no [coordinator] section")
    try:
        catalogue, algorithms = read(settings, own)
        _check(database_settings)
        listener = bind(own.coordinator_addr, own.coordinator_port)
    except SettingsError as error:
        return _end(WRONG_CONFIG, str(error))
    except (DatabaseAway, CannotBind) as error:
        return _end(AWAY, f"coordinator: {error}")
    started: list[Coordinator] = []  # in the worker process
    guard = make_guard(settings.security, own.token)  # each worker has a copy of its own

    def make_app() -> Flask:
        started.append(Coordinator(own, database_settings, guard, catalogue, algorithms))
        return started[0].app

    return serve(
        make_app,
        listener,
        workers=1,
        threads=THREADS,
        ready_line=f"coordinator ready on {url_of(listener, own.coordinator_addr, guard.scheme)}",
        on_worker_start=lambda serving: started[0].start(serving),
        on_worker_stop=lambda: started[0].stop() if started else None,
        on_hangup=lambda: renew(settings, _access, guard.take),
        tls=guard.tls,
    )


def _access(settings: Settings) -> Access:
    return access_of(settings.security, settings.coordinator.token if settings.coordinator else None)


def read(settings: Settings, own: CoordinatorSettings) -> tuple[Catalogue, dict[str, Algorithm]]:
    """Return what the resource files and the algorithms' names stand for. Raises SettingsError with all faults."""
    faults: dict[Fault, None] = {}
    catalogue, algorithms = None, None
    try:
        catalogue = Catalogue.load(own)
    except SettingsError as error:
        faults.update(dict.fromkeys(error.faults))
    try:
        algorithms = _algorithms(settings, own)
    except SettingsError as error:
        faults.update(dict.fromkeys(error.faults))
    if catalogue is None or algorithms is None:
        raise SettingsError(faults)
    return catalogue, algorithms


def _algorithms(settings: Settings, own: CoordinatorSettings) -> dict[str, Algorithm]:
    try:
        found = load_algorithms(own.algorithms)
    except AlgorithmError as error:
        raise SettingsError([Fault(settings.path, str(error), "coordinator", "algorithms")]) from error
    if own.algorithm not in found:
        fault = Fault(
            settings.path,
            f"there is no algorithm {own.algorithm!r}",
            "coordinator",
            "algorithm",
            allowed=", ".join(sorted(found)),
            guess=guess(own.algorithm, found),
        )
        raise SettingsError([fault])
    limit_s = own.algorithm_timeout
    return {
        name: Timed(algorithm, limit_s, DECISION.labels(name).observe, ours=name not in own.algorithms)
        for name, algorithm in found.items()
    }


def _check(settings: DatabaseSettings) -> None:
    """Return when the database can be used; leave no connection behind, for workers are forked. Raises DatabaseAway."""
    engine = database.connect(settings)
    try:
        database.check(engine)
    finally:
        engine.dispose()


def _end(status: int, message: str) -> int:
    sys.stderr.write(message + "\n")
    return status
