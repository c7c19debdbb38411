"""What the API does with sessions, on a database that several coordinators share; nodes are played."""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from coordinator.allocation import ALGORITHMS
from coordinator.allocation.base import Unplaceable
from coordinator.catalogue import Catalogue
from coordinator.deciding import Decider
from coordinator.elsewhere import Alternatives
from coordinator.galleries import Galleries
from coordinator.gallery_store import GalleryStore
from coordinator.peers import Failure, Peers
from coordinator.placing import Parts, Placer
from coordinator.portraits import Portraits
from coordinator.rebalancer import Rebalancer
from coordinator.records import Cordon, NodeAddress, SessionRecord, replace
from coordinator.registry import Registry
from coordinator.requests import Reallocation
from coordinator.service import Sessions
from coordinator.sessions import State
from coordinator.snapshot import placement
from coordinator.store import StaleEpoch, Store
from tests.unit.test_coordinator_decisions import beat
from wire import database
from wire.client import ControlClient
from wire.messages import HandlerAvailability, HandlerStatus, Load, NodeSession, Objective, Running, SessionRequest
from wire.settings import CoordinatorSettings, DatabaseSettings

ROOT = Path(__file__).resolve().parents[2]
HAAR = SessionRequest(service="face_detection", variant="haar", entry_node=1)
DETECTS = 1  # the handler that is another in each variant


class PlayedNodes(Peers):
    """Nodes that take everything; freed: (session_id, node_id)."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(ControlClient(), registry.alive)
        self.freed: list[tuple[int, int]] = []

    def prepare(self, session: SessionRecord, nodes: Iterable[int] | None = None) -> dict[int, Failure]:
        return {}

    def start(self, session: SessionRecord) -> dict[int, Failure]:
        return {}

    stop = start

    def free(self, session_id: int, nodes: Mapping[int, NodeAddress]) -> dict[int, Failure]:
        self.freed += [(session_id, n) for n in nodes]
        return {}

    def hand_over(self, session: SessionRecord) -> None:
        return None


class System:
    """A coordinator that hears nodes 1 to 3."""

    def __init__(self, folder: Path) -> None:
        (folder / "nodes").mkdir(exist_ok=True)
        settings = CoordinatorSettings(
            node_path=folder / "nodes",
            handler_type_path=ROOT / "config/handlers",
            service_type_path=ROOT / "config/services",
        )
        engine = database.connect(DatabaseSettings(db_path=folder / "rows.sqlite"))
        database.check(engine)
        registry = Registry((), timeout=3.0, auto_register=True)
        self.nodes = PlayedNodes(registry)
        self.parts = Parts(
            settings=settings,
            catalogue=Catalogue.load(settings),
            algorithms={name: algorithm() for name, algorithm in ALGORITHMS.items()},
            registry=registry,
            store=Store(engine),
            peers=self.nodes,
            galleries=Galleries(GalleryStore(engine), Portraits()),
        )
        self.placer = Placer(self.parts)
        self.sessions = Sessions(self.parts, self.placer)
        for node_id in (1, 2, 3):
            self.hear(node_id)

    def hear(self, node_id: int, *sessions: NodeSession, cpu_util: float = 10) -> None:
        available = [
            HandlerAvailability(handler_type=t.handler_type, name=t.name, available=True)
            for t in self.parts.catalogue.types
        ]
        load = Load(cpu_util=cpu_util, mem_util=10)
        heard = beat(node_id, handlers=available, load=load, sessions=list(sessions))
        heard = replace(heard, hardware=replace(heard.hardware, cpus=8, mem_total=64000))
        self.parts.registry.heard(heard, time.monotonic(), time.time())

    def lose(self, node_id: int, cpu_util: float) -> None:
        """Call all nodes down, and hear the others again."""
        self.parts.registry.judge(time.monotonic() + 60)
        for other in {1, 2, 3} - {node_id}:
            self.hear(other, cpu_util=cpu_util)

    def share(self) -> None:
        begun = time.monotonic()
        self.parts.held.merge(self.parts.store.sessions([s for s in State if s is not State.DELETED]), begun)


@pytest.fixture
def one(tmp_path: Path) -> System:
    return System(tmp_path)


@pytest.fixture
def other(tmp_path: Path, one: System) -> System:
    return System(tmp_path)


# --- two coordinators ---------------------------------------------------------------------------------


def stop(system: System, session_id: int) -> None:
    assert system.sessions.stop(session_id).state is State.STOPPED


def start(system: System, session_id: int) -> None:
    assert system.sessions.start(session_id).state is State.RUNNING


def move(system: System, session_id: int) -> None:
    assert system.sessions.reallocate(session_id, Reallocation(pin={DETECTS: 2})).plan.placement[DETECTS] == [2]


def delete(system: System, session_id: int) -> None:
    system.sessions.delete(session_id)
    assert {n for i, n in system.nodes.freed if i == session_id} >= {1}


@pytest.mark.parametrize(
    ("first", "then"), [(start, stop), (start, move), (start, delete), (move, start), (move, delete), (delete, delete)]
)
def test_what_another_coordinator_wrote_a_moment_ago_counts(
    one: System, other: System, first: Callable[[System, int], None], then: Callable[[System, int], None]
) -> None:
    made = one.sessions.create(replace(HAAR, start=False))
    other.share()
    first(one, made.session_id)
    then(other, made.session_id)


def test_a_session_that_another_coordinator_deleted_is_wanted_nowhere(one: System, other: System) -> None:
    made = one.sessions.create(HAAR)
    other.share()
    one.sessions.delete(made.session_id)
    assert other.sessions.get(made.session_id).state is State.RUNNING, "asking is answered from memory"
    other.sessions.delete(made.session_id)
    assert other.parts.held.all() == []


def test_deleting_wins_over_a_change_at_the_same_time(
    one: System, other: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = one.sessions.create(HAAR)
    write, met = other.parts.store.write_session, list[StaleEpoch]()

    def meet(session: SessionRecord, was: SessionRecord) -> None:
        if not met:
            stop(one, made.session_id)
        try:
            write(session, was)
        except StaleEpoch as error:
            met.append(error)
            raise

    monkeypatch.setattr(other.parts.store, "write_session", meet)
    delete(other, made.session_id)
    assert len(met) == 1
    assert one.parts.store.session(made.session_id).state is State.DELETED  # type: ignore[union-attr]


# --- what stays ---------------------------------------------------------------------------------------


def test_what_a_lost_node_had_is_placed_anew_with_the_rest_of_a_reallocation(one: System) -> None:
    """The lost node is the least busy one, by its last heartbeat."""
    for node_id in (1, 3):
        one.hear(node_id, cpu_util=80)
    made = one.sessions.create(SessionRequest(service="face_detection", variant="haar", pin={2: 2}))
    assert made.plan.used() == {2}
    one.lose(2, cpu_util=80)
    moved = one.sessions.reallocate(made.session_id, Reallocation(pin={2: 3}))
    assert moved.plan.placement[2] == [3]
    assert moved.plan.used() <= {1, 3}


def test_a_handler_of_another_variant_does_not_stay_on_a_node_that_takes_no_new_ones(one: System) -> None:
    wish = SessionRequest(service="face_detection", entry_node=1, objective=Objective(max_latency_ms=2000))
    made = one.sessions.create(replace(wish, pin={0: 1, 1: 1, 2: 1, 3: 1}))
    for node_id in (1, 2, 3):
        one.parts.registry.set_cordon(node_id, Cordon.CORDONED)
    decider = Decider(one.parts)
    own = one.parts.catalogue.request_again(made, made.request, seed=1)
    otherwise = one.parts.catalogue.request_otherwise(made, seed=1)
    assert otherwise is not None
    here = placement(made)
    stays, _ = decider.replacement(made, "layered_dp", Alternatives(own=own, otherwise=otherwise), here)
    assert stays.placement == here
    with pytest.raises(Unplaceable, match="no node can run handler 1"):
        decider.replacement(made, "layered_dp", Alternatives(own=otherwise), here)


# --- what is usual ------------------------------------------------------------------------------------


def test_the_last_heartbeat_of_a_node_that_is_down_says_nothing_about_what_is_usual(one: System) -> None:
    made = one.sessions.create(replace(HAAR, pin={DETECTS: 2}))
    slow = HandlerStatus(handler_id=DETECTS, state="running", service_ms=800.0, frames=50)
    one.hear(2, NodeSession(session_id=made.session_id, epoch=1, state=Running.RUNNING, entry=False, handlers=[slow]))
    one.parts.registry.judge(time.monotonic() + 60)
    one.hear(1)
    rebalancer = Rebalancer(one.parts, one.placer, Decider(one.parts))
    rebalancer.tick(time.monotonic())
    assert one.parts.usual.times() == {}
    one.hear(2, NodeSession(session_id=made.session_id, epoch=1, state=Running.RUNNING, entry=False, handlers=[slow]))
    rebalancer.tick(time.monotonic())
    assert len(one.parts.usual.times()) == 1
