"""The coordinator's SQL on both engines: fencing by epoch, the lease, what a restart finds."""

import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import insert

from coordinator.records import Asked, Cordon, NodeRecord, replace
from coordinator.sessions import State
from coordinator.store import StaleEpoch, Store
from tests.unit.test_coordinator_decisions import beat, session
from wire import tables
from wire.database import connect, migrate
from wire.settings import DatabaseSettings


@pytest.fixture
def store(database: DatabaseSettings) -> Iterator[Store]:
    engine = connect(database)
    migrate(engine)
    with engine.begin() as connection:
        row = {"node_id": 1, "mem_total": 100, "mem_util": 5.0}
        rows = [row | {"timestamp": 10.0, "cpu_util": 30.0}, row | {"timestamp": 11.0, "cpu_util": 40.0}]
        connection.execute(insert(tables.sys_info), rows)
    yield Store(engine)
    engine.dispose()


def test_a_session_comes_back_as_it_was_written(store: Store) -> None:
    written = store.add_session(session())
    assert written.session_id > 0
    assert store.session(written.session_id) == written
    assert store.session(written.session_id + 1) is None


def test_of_two_writers_over_one_epoch_the_second_fails(store: Store) -> None:
    first = store.add_session(session())
    second = replace(first, epoch=first.epoch + 1, state=State.DEGRADED)
    store.write_session(second, first)
    with pytest.raises(StaleEpoch, match="epoch 3"):
        store.write_session(replace(first, epoch=first.epoch + 1), first)
    assert store.session(first.session_id) == second


def test_lists_go_on_after_an_id(store: Store) -> None:
    ids = [store.add_session(session(session_key=str(n))).session_id for n in range(3)]
    assert [s.session_id for s in store.sessions([State.RUNNING], after=ids[0], limit=1)] == [ids[1]]
    assert store.sessions([State.DELETED]) == []


def test_events_keep_their_order_and_detail(store: Store) -> None:
    store.add_event(5, "created", {"service": "s"})
    store.add_event(6, "created", {})
    store.add_event(5, "moved", {"moves": [{"from": [1], "to": [2]}]})
    events = store.events(5, 0, 10)
    assert [(e.event, e.detail) for e in events][1] == ("moved", {"moves": [{"from": [1], "to": [2]}]})
    assert store.events(5, events[0].event_id, 10) == events[1:]


def test_an_older_heartbeat_never_replaces_a_later_one_and_cordons_stay(store: Store) -> None:
    new = NodeRecord(node_id=1, heartbeat=beat(1, "b"), last_seen=20.0)
    store.write_nodes([new])
    store.set_cordon(new, Cordon.DRAINING)
    store.write_nodes([replace(new, heartbeat=beat(1, "a"), last_seen=10.0)])
    assert store.nodes() == [replace(new, cordoned=Cordon.DRAINING)]


def test_one_holder_leads_until_its_lease_ends(store: Store) -> None:
    assert store.lead("a", 0.3)
    assert not store.lead("b", 5)
    assert store.lead("a", 0.3)
    threading.Event().wait(0.4)
    assert store.lead("b", 5)
    assert not store.lead("a", 5)
    store.resign("b")
    assert store.lead("a", 5)


def test_the_lease_is_by_the_databases_clock_in_seconds(store: Store) -> None:
    store.lead("a", 60)
    with store._engine.connect() as connection:
        until = connection.execute(tables.leader.select()).one().lease_until
    assert until == pytest.approx(time.time() + 60, abs=5)


def test_the_latest_sample_of_each_node(store: Store) -> None:
    assert store.samples(9.0)[1].cpu_util == 40.0
    assert store.samples(11.0) == {}


def test_a_session_remembers_whose_it_is(store: Store) -> None:
    mine, others = (
        store.add_session(session(session_key=name, request=Asked(service="s", owner=owner)))
        for name, owner in (("a", "camera"), ("b", "door"))
    )
    nobodys = store.add_session(session(session_key="c"))
    assert [s and s.owner for s in map(store.session, (1, 2, 3))] == ["camera", "door", None]
    assert store.sessions([State.RUNNING], owner="camera") == [mine]
    assert store.sessions([State.RUNNING], limit=1, owner="door") == [others]
    assert store.sessions([State.RUNNING], after=mine.session_id) == [others, nobodys]
