"""What the telemetry tables say of service times and links, on both engines."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, insert

from coordinator.allocation.base import Measured, work
from coordinator.history import KEPT_S, OLD, History
from coordinator.snapshot import Known, build
from tests.unit.test_coordinator_decisions import GRAPH, beat, report, session, status
from wire import tables
from wire.database import connect, migrate
from wire.messages import HandlerStatus
from wire.settings import DatabaseSettings

NOW = 10_000.0
PROC = {"cpu_util": 50.0, "mem_util": 1.0, "queue_size": 0, "session_id": 5}
DETECT = work(GRAPH.handlers[1])


@pytest.fixture
def engine(database: DatabaseSettings) -> Iterator[Engine]:
    made = connect(database)
    migrate(made)
    yield made
    made.dispose()


def proc(engine: Engine, timestamp: float, frames: int, ms: float | None, **more: int) -> None:
    row = PROC | {"timestamp": timestamp, "handler_id": 2, "node_id": 2, "frames": frames, "service_ms": ms} | more
    with engine.begin() as connection:
        connection.execute(insert(tables.proc_info), row)


def test_service_times_are_means_over_frames_and_old_frames_count_less(engine: Engine) -> None:
    proc(engine, NOW - 1, 30, 40.0)
    proc(engine, NOW - 2, 10, 80.0)
    proc(engine, NOW - 100, 100, 10.0)
    proc(engine, NOW - 3, 5, None)
    proc(engine, NOW - 4000, 5000, 1.0)
    proc(engine, NOW - 1, 9, 7.0, session_id=99)  # of a session that nobody knows
    times = History(engine).known([session()], NOW).times
    assert set(times) == {(DETECT, 2)}
    assert times[DETECT, 2].frames == pytest.approx(40 + OLD * 100)
    assert times[DETECT, 2].ms == pytest.approx((30 * 40 + 10 * 80 + OLD * 100 * 10) / (40 + OLD * 100))


def test_what_was_read_is_kept_for_a_few_seconds_and_outlives_its_session(engine: Engine) -> None:
    history = History(engine)
    assert history.known([session()], NOW).times == {}
    proc(engine, NOW - 1, 30, 40.0)
    assert history.known([], NOW + KEPT_S - 1).times == {}
    assert history.known([], NOW + KEPT_S + 1).times == {(DETECT, 2): Measured(ms=40.0, frames=30.0)}


def test_links_of_many_sizes_give_latency_and_bandwidth(engine: Engine) -> None:
    sizes = [(2_000, 7.2), (60_000, 13.0), (900_000, 97.0)]  # 7 ms + 100 ns per byte
    rows = [
        {"timestamp": NOW - i, "node_id": 1, "target_node_id": 2, "frames": 10, "bytes": 10 * size, "send_ms": ms}
        for i, (size, ms) in enumerate(sizes)
    ]
    with engine.begin() as connection:
        connection.execute(insert(tables.link_info), rows)
    link = History(engine).known([], NOW).links[1, 2]
    assert link.latency_ms == pytest.approx(7.0, abs=0.05)
    assert link.bytes_per_s == pytest.approx(1e7, rel=0.01)


def test_history_and_heartbeats_are_blended() -> None:
    known = Known(times={(DETECT, 2): Measured(ms=20.0, frames=1e5)})
    handlers = [HandlerStatus(handler_id=2, state="running", service_ms=60.0, frames=10**6)]
    heard = beat(2, sessions=[report(handlers=handlers)])
    world = build(status(heard), {}, [session()], {}, 0.0, known)
    assert world.times[DETECT, 2] == Measured(ms=52.0, frames=250.0)  # 50 frames at 20 ms, 200 at 60 ms


def test_few_frames_that_are_heard_outweigh_many_of_the_past() -> None:
    """A node that has become slow is believed as soon at two frames/s as at a hundred."""
    known = Known(times={(DETECT, 2): Measured(ms=20.0, frames=40.0), (DETECT, 1): Measured(ms=30.0, frames=40.0)})
    handlers = [HandlerStatus(handler_id=2, state="running", service_ms=60.0, frames=40)]
    world = build(status(beat(2, sessions=[report(handlers=handlers)])), {}, [session()], {}, 0.0, known)
    assert world.times == {(DETECT, 2): Measured(ms=52.0, frames=50.0), (DETECT, 1): Measured(ms=30.0, frames=40.0)}
