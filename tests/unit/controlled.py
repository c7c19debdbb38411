"""A coordinator without daemons: real parts on SQLite, nodes that are played at Peers; the test calls the ticks."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from coordinator.allocation import load_algorithms
from coordinator.catalogue import Catalogue
from coordinator.controller import Controller
from coordinator.galleries import Galleries
from coordinator.gallery_store import GalleryStore
from coordinator.peers import Failure, Peers
from coordinator.placing import BACKGROUND_THREADS, Parts, Placer
from coordinator.portraits import Portraits
from coordinator.records import NodeAddress, SessionRecord, addresses
from coordinator.registry import Registry
from coordinator.service import Sessions
from coordinator.store import Store
from wire import database
from wire.messages import Books, HandlerAvailability, Hardware, Heartbeat, Load, SessionRequest
from wire.settings import CoordinatorSettings, DatabaseSettings


class PlayedPeers(Peers):
    """Nodes that take every order, unless the test says otherwise."""

    def __init__(self) -> None:
        self.puts: list[tuple[int, list[int]]] = []  # epoch, nodes of each prepare()
        self.freed: list[int] = []
        self.fault: Callable[[int, SessionRecord], Failure | None] = lambda _node, _session: None
        self.books: Books | None = None  # the final ones of an entry
        self.open = threading.Event()  # while it is not set PUTs take their time
        self.open.set()
        self.loading = 0  # PUTs that wait for it

    def prepare(self, session: SessionRecord, nodes: Iterable[int] | None = None) -> dict[int, Failure]:
        only = sorted(session.plan.used() if nodes is None else session.plan.used() & set(nodes))
        if not only:
            return {}
        self.puts.append((session.epoch, only))
        self.loading += 1
        self.open.wait(20)
        found = {n: self.fault(n, session) for n in only}
        return {n: failure for n, failure in found.items() if failure is not None}

    def start(self, session: SessionRecord) -> dict[int, Failure]:
        return {}

    def stop(self, session: SessionRecord) -> dict[int, Failure]:
        return {}

    def hand_over(self, session: SessionRecord) -> Books | None:
        return self.books

    def free(self, session_id: int, nodes: Mapping[int, NodeAddress]) -> dict[int, Failure]:
        self.freed += nodes
        return {}

    def close(self) -> None:
        pass


class Controlled:
    """One coordinator; another Controlled at the same path is the same one after a restart, or a second one."""

    def __init__(self, path: Path, peers: PlayedPeers) -> None:
        self._engine = database.connect(DatabaseSettings(db_engine="sqlite", db_path=path / "test.sqlite"))
        database.migrate(self._engine)
        settings = CoordinatorSettings(node_path=path)
        self.peers = peers
        self.parts = Parts(
            settings=settings,
            catalogue=Catalogue.load(settings),
            algorithms=load_algorithms({}),
            registry=Registry((), timeout=60, auto_register=True),
            store=Store(self._engine),
            peers=peers,
            galleries=Galleries(GalleryStore(self._engine), Portraits()),
        )
        self.placer = Placer(self.parts)
        self.controller = Controller(self.parts, self.placer)
        self.sessions = Sessions(self.parts, self.placer)

    def close(self) -> None:
        self.peers.open.set()
        self.placer.background.shutdown()
        self._engine.dispose()

    def hear(self, *node_ids: int, leaving: bool = False) -> None:
        """Take a heartbeat of each node; one that leaves is down."""
        for node_id in node_ids:
            self.parts.registry.heard(self.beat(node_id, leaving=leaving), time.monotonic(), time.time())

    def beat(self, node_id: int, *, leaving: bool = False) -> Heartbeat:
        return Heartbeat(
            node_id=node_id,
            node_name=f"n{node_id}",
            boot_id=f"boot{node_id}",
            control_url=f"http://127.0.0.1:{9000 + node_id}",
            data_url=f"http://127.0.0.1:{9100 + node_id}",
            handlers=[
                HandlerAvailability(handler_type=t.handler_type, name=t.name, available=True)
                for t in self.parts.catalogue.types
            ],
            hardware=Hardware(cpus=64, mem_total=256_000),
            load=Load(cpu_util=10.0, mem_util=10.0),
            timestamp=1.0,
            leaving=leaving,
        )

    def create(self, detector: int | list[int]) -> SessionRecord:
        """Return a running session that enters at node 1, with all but its detector there."""
        pin: dict[int, int | list[int]] = {0: 1, 1: detector, 2: 1, 3: 1}
        asked = SessionRequest(service="face_detection", variant="haar", entry_node=1, pin=pin, replicas={1: 1})
        return self.sessions.create(asked)

    def addresses(self, *node_ids: int) -> dict[int, NodeAddress]:
        return addresses({n: self.beat(n) for n in node_ids})

    def held(self, session_id: int) -> SessionRecord:
        """Return the session as it is known."""
        found = self.parts.held.get(session_id)
        assert found is not None
        return found

    def kept(self, session_id: int) -> SessionRecord:
        """Return the session as the database has it."""
        found = self.parts.store.session(session_id)
        assert found is not None
        return found

    def tick(self) -> None:
        """Have the controller look once; what it begins goes on in the background."""
        self.controller._tick()

    def finish(self) -> None:
        """Wait for all that waits in the background."""
        self.placer.background.shutdown()
        self.placer.background = ThreadPoolExecutor(BACKGROUND_THREADS)

    def events(self, session_id: int) -> list[str]:
        """Return the names of what happened to the session since it was started."""
        names = [e.event for e in self.parts.store.events(session_id, 0, 1000)]
        return names[names.index("started") + 1 :]
