"""Which deaths of handlers come into a session's history, and how often."""

from coordinator.deaths import EVENT, TELL_S, Death, Told, reported
from coordinator.records import EventRecord
from tests.unit.test_coordinator_decisions import beat, report, session
from wire.messages import HandlerStatus

WHY = "used 900 MiB of memory"


def death(restarts: int, handler_id: int = 2) -> Death:
    return Death(handler_id=handler_id, node_id=3, restarts=restarts, why=WHY)


def test_a_handler_that_is_back_is_reported_with_why() -> None:
    handlers = [
        HandlerStatus(handler_id=1, state="running"),
        HandlerStatus(handler_id=2, state="running", restarts=2, died=WHY),
    ]
    beats = {3: beat(3, sessions=[report(3, handlers=handlers)]), 9: beat(9, sessions=[report(3, handlers=handlers)])}
    assert list(reported(session(), beats)) == [death(2)], "node 9 is not in the session's placement"


def test_one_event_a_minute_is_enough_for_a_handler() -> None:
    told = Told()
    assert told.due(5, death(1), 0.0)
    told.note(5, death(1), 0.0)
    assert not told.due(5, death(1), 100.0)
    assert not told.due(5, death(7), TELL_S - 1) and told.due(5, death(7), TELL_S)
    assert told.due(5, death(1, handler_id=1), 1.0) and told.due(6, death(1), 1.0)


def test_a_new_leader_repeats_nothing() -> None:
    told = Told()
    assert not told.knows(5)
    old = {"handler_id": 2, "node_id": 3, "restarts": 4, "why": WHY}
    told.learn(5, [EventRecord(event_id=1, timestamp=1.0, session_id=5, event=EVENT, detail=old)])
    assert told.knows(5) and not told.due(5, death(4), 0.0)
    assert told.due(5, death(5), 0.0)
    assert told.due(5, death(1), 0.0), "it left the node and came back: its restarts are counted anew"


def test_what_has_ended_is_forgotten() -> None:
    told = Told()
    told.learn(5, [])
    told.note(5, death(1), 0.0)
    told.forget([6])
    assert not told.knows(5) and told.due(5, death(1), 1.0)
