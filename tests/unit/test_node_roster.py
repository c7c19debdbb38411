"""Which sessions a node holds, and which changed or ended lately."""

import threading
import time

import pytest

from node.held import Held
from node.roster import Roster
from node.sessions import SessionInUse, UnknownSession
from wire.messages import Entry, Graph, HandlerSpec, Route, SessionPlan

URL = "http://127.0.0.1:9100"


def held(session_id: int, *, epoch: int = 1, older: bool = False) -> Held:
    graph = Graph(handlers=[HandlerSpec(handler_id=1, handler_type=4)])
    entry = Entry(node_id=1, url=URL, key="k", handler_id=1)
    routes = {1: [Route(node_id=1, url=URL)]}
    plan = SessionPlan(epoch=epoch, accept_from=epoch, graph=graph, local=[1], routes=routes, entry=entry, results=[])
    return Held(session_id, plan, older)


def test_the_first_under_an_id_is_held_and_sessions_come_by_their_ids() -> None:
    roster, second = Roster(), held(2)
    assert roster.hold(second) is second
    assert roster.hold(held(2)) is second
    roster.hold(held(1))
    assert [s.session_id for s in roster.all()] == [1, 2]
    with pytest.raises(UnknownSession, match="no session 3"):
        roster.find(3)


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (True, True)])
def test_a_session_of_the_older_protocol_shares_its_id_with_none(*, first: bool, second: bool) -> None:
    roster = Roster()
    roster.hold(held(1, older=first))
    with pytest.raises(SessionInUse):
        roster.hold(held(1, older=second))


def test_an_ended_session_is_known_for_its_epoch_and_is_not_the_next_one_of_its_id() -> None:
    roster, old = Roster(), held(1, epoch=3)
    roster.hold(old)
    assert roster.end(old)
    assert [roster.ended(1, epoch) for epoch in (2, 3, 4)] == [True, True, False]
    new = roster.hold(held(1, epoch=4))
    assert not roster.end(old), "whoever ends it a second time"
    assert roster.find(1) is new
    with pytest.raises(UnknownSession, match="deleted meanwhile"):
        roster.must_hold(old)


def test_a_session_has_changed_since_its_last_change_and_while_somebody_is_at_it() -> None:
    roster, session = Roster(), held(1)
    roster.hold(session)
    before = time.monotonic()
    assert not roster.changed_since(1, before)
    roster.touch(1)
    assert roster.changed_since(1, before)
    after = time.monotonic() + 0.001
    assert not roster.changed_since(1, after)
    at_it = threading.Thread(target=session.lock.acquire)  # another thread, and it keeps the lock
    at_it.start()
    at_it.join()
    assert roster.changed_since(1, after)


def test_of_a_session_that_is_gone_the_last_change_is_remembered() -> None:
    roster, session = Roster(), held(1)
    roster.hold(session)
    roster.touch(1)
    roster.end(session)
    assert roster.changed_since(1, 0.0)
    assert not roster.changed_since(2, 0.0)


def test_clearing_gives_what_was_held() -> None:
    roster, session = Roster(), held(1)
    roster.hold(session)
    assert roster.clear() == [session]
    assert roster.all() == []
