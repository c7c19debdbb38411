"""One worker process of the collector: its engine, writer and clean-up threads, and the app that uses them."""

from collections.abc import Mapping
from typing import Any

from flask import Flask

from collector.nodes import Directory
from collector.retention import Cleaner
from collector.store import Store
from collector.views import blueprint
from wire.database import DatabaseAway, check, connect, describe
from wire.guard import Guard
from wire.settings import CollectorSettings, DatabaseSettings
from wire.web import create_app

MAX_BODY_BYTES = 16 << 20


class Worker:
    """What a worker process holds. Make it after the fork: engines and threads do not survive one."""

    def __init__(self, settings: CollectorSettings, database: DatabaseSettings) -> None:
        self._engine = connect(database)
        self._store = Store(self._engine)
        self._cleaner = Cleaner(self._engine, settings)

    def start(self, guard: Guard, addresses: Mapping[str, int]) -> Flask:
        """Start the threads and return the app."""
        self._store.start()
        self._cleaner.start()
        app = create_app("collector", guard=guard, ready=self._ready, max_body_bytes=MAX_BODY_BYTES)
        app.register_blueprint(blueprint(self._store, Directory(self._engine, addresses)))
        return app

    def stop(self) -> None:
        """Write what waits and end the threads."""
        self._cleaner.stop()
        self._store.stop()
        self._engine.dispose()

    def _ready(self) -> tuple[bool, dict[str, Any]]:
        try:
            check(self._engine)
        except DatabaseAway as error:
            return False, {"database": str(error)}
        return True, {"database": describe(self._engine)}
