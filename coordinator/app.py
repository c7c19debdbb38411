"""The coordinator's Flask app, with everything behind it."""

from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask
from flask.typing import ResponseReturnValue

from coordinator import frame_views, gallery_views, views
from coordinator.allocation.base import Algorithm
from coordinator.catalogue import Catalogue
from coordinator.controller import Controller
from coordinator.dashboard import views as dashboard
from coordinator.dashboard.feed import Feed
from coordinator.dashboard.source import detail, now
from coordinator.figures import Figures
from coordinator.frame_store import FrameStore
from coordinator.galleries import Galleries
from coordinator.gallery_store import GalleryStore
from coordinator.node_service import Nodes
from coordinator.peers import Peers
from coordinator.placing import Parts, Placer
from coordinator.portraits import Portraits
from coordinator.probes import Probes
from coordinator.problems import StaleChange, WrongState
from coordinator.registry import NodeState, NotRegistered, Registry
from coordinator.service import Sessions
from coordinator.sessions import InvalidTransition
from coordinator.store import StaleEpoch, Store
from wire import database, metrics
from wire.client import ControlClient
from wire.database import DatabaseAway
from wire.guard import Guard
from wire.settings import CoordinatorSettings, DatabaseSettings
from wire.web import NotFound, Problem, Unavailable, create_app

MAX_BODY_BYTES = 4 << 20  # heartbeats of nodes with many sessions


class Coordinator:
    """One worker process: make after the fork. Raises DatabaseAway."""

    def __init__(
        self,
        settings: CoordinatorSettings,
        database_settings: DatabaseSettings,
        guard: Guard,
        catalogue: Catalogue,
        algorithms: Mapping[str, Algorithm],
    ) -> None:
        known = (n.node_id for n in catalogue.nodes)
        registry = Registry(known, timeout=settings.heartbeat_timeout, auto_register=settings.auto_register)
        self._engine = database.connect(database_settings)
        client = ControlClient(guard.credential)
        self._parts = Parts(
            settings=settings,
            catalogue=catalogue,
            algorithms=algorithms,
            registry=registry,
            store=Store(self._engine),
            peers=Peers(client, registry.alive),
            galleries=Galleries(GalleryStore(self._engine), Portraits()),
        )
        self._placer = Placer(self._parts)
        self._controller = Controller(self._parts, self._placer)
        self._probes = Probes(registry, client, self._parts.wake.set)
        self._controller.load()
        sessions = Sessions(self._parts, self._placer)
        self._feed = Feed(lambda: now(self._parts), lambda session_id: detail(self._parts, sessions, session_id))
        metrics.add(Figures(self._feed.rows, lambda: self._controller.leads))
        self.app = self._make_app(guard, sessions)

    def start(self, serving: Callable[[], bool] = lambda: True) -> None:
        """Begin to control. serving: says no as soon as the server wants to stop."""
        self._feed.serving = serving
        self._controller.start()
        self._probes.start()

    def stop(self) -> None:
        """End in order."""
        self._feed.end()
        self._probes.stop()
        self._controller.stop()
        self._placer.close()
        self._parts.peers.close()
        self._engine.dispose()

    def _make_app(self, guard: Guard, sessions: Sessions) -> Flask:
        app = create_app(
            "coordinator",
            guard=guard,
            ready=self._ready,
            max_body_bytes=MAX_BODY_BYTES,
            logged_in=lambda: dashboard.logged_in(guard),
        )
        app.before_request(lambda: views.must_own(sessions))
        app.register_blueprint(dashboard.make(self._feed, guard))
        app.register_blueprint(views.make(self._parts, sessions, Nodes(self._parts)))
        app.register_blueprint(frame_views.make(sessions, FrameStore(self._engine)))
        app.register_blueprint(gallery_views.make(self._parts.galleries))
        for error, problem in _PROBLEMS.items():
            app.register_error_handler(error, _as(app, problem))
        return app

    def _ready(self) -> tuple[bool, dict[str, Any]]:
        registry = self._parts.registry
        up = sum(registry.state(r.node_id) is NodeState.UP for r in registry.records())
        details = {"nodes_up": up, "sessions": len(self._parts.held.all()), "leads": self._controller.leads}
        try:
            self._parts.store.ping()
        except DatabaseAway as error:
            return False, details | {"database": str(error)}
        return True, details | {"database": "ok"}


_PROBLEMS: dict[type[Exception], type[Problem]] = {
    InvalidTransition: WrongState,
    StaleEpoch: StaleChange,
    NotRegistered: NotFound,
    DatabaseAway: Unavailable,
}


def _as(app: Flask, problem: type[Problem]) -> Any:
    """Return an error handler that answers with *problem*."""

    def handle(error: Exception) -> ResponseReturnValue:
        return app.handle_user_exception(problem(str(error)))

    return handle
