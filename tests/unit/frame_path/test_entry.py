"""The entry with real shared memory and real threads; the test plays the handler."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import msgspec
import pytest

from node.gateway import care, posts
from node.gateway import entry as module
from node.gateway.entry import Dropped, Ended, Entry, Repeated
from node.gateway.posts import send_in_place
from node.gateway.results import Result
from node.gateway.window import OpenFrame
from node.reporting.recorder import Recorder
from node.transport.addresses import handler_address, handler_depth
from node.transport.channel import Inbox
from node.transport.forward import Forwarder
from tests.unit.frame_path.conftest import Place
from tests.unit.frame_path.test_graph import PORTS, STEP, graph
from wire import packet
from wire.messages import Delivery, FrameStatus, ResultSpec, Route, SessionPlan
from wire.messages import Entry as EntryPlace
from wire.packet import EmptyPart, EncodedPart, Header, Packet

PART = EncodedPart("image/jpeg", 0)
PATIENCE_S = 5.0


def plan(
    window: int = 2, delivery: Delivery = Delivery.LOSSLESS, epoch: int = 1, url: str | None = None
) -> SessionPlan:
    """Handler 1 here, or on node 2 at *url*."""
    route = Route(node_id=2, url=url) if url else Route(node_id=1, url="http://127.0.0.1:1")
    return SessionPlan(
        epoch=epoch,
        accept_from=epoch,
        graph=graph({1: STEP}),
        local=[1],
        routes={1: [route]},
        entry=EntryPlace(node_id=1, url="http://127.0.0.1:1", key="k", handler_id=1),
        results=[ResultSpec(handler_id=1)],
        delivery=delivery,
        window=window,
    )


@dataclass
class Session:
    """An entry, and the inbox of its first handler."""

    place: Place
    plan: SessionPlan
    entry: Entry = field(init=False)
    inbox: Inbox = field(init=False)
    closing: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.entry = Entry(7, self.plan, PORTS, self._sender, self.place.path / "books")
        self.inbox = self.place.channel.inbox(handler_address(7, 1, self.plan.window), handler_depth(self.plan, 1))

    def _sender(self, current: Callable[[], SessionPlan]) -> Forwarder:
        return Forwarder(self.place.channel, 1, Recorder(1.0), None, self.closing, current)

    def post(self, key: tuple[str, str] | None = None, data: bytes = b"frame") -> OpenFrame:
        ticket = self.entry.admit(PATIENCE_S)
        assert ticket is not None
        return self.entry.open(ticket, (PART, [data]), (), key)

    def arrived(self, timeout_s: float = PATIENCE_S) -> Header | None:
        """Return the header of the next packet that the handler gets."""
        data = self.inbox.receive(timeout_s)
        return None if data is None else packet.decode(data).header

    def answer(self, sequence: int, status: str = "ok") -> None:
        part = EmptyPart(status=status, ended_by=1)  # type: ignore[arg-type]
        header = Header(
            session_id=7, epoch=1, sequence=sequence, timestamp=0.0, origin=1, payload=part, handler_id=1, port=0
        )
        self.entry.report(Packet(header, [], 0))

    def balanced(self) -> bool:
        books = self.entry.outcomes.read_books()
        return books.frames_in == books.delivered + sum(books.dropped.values()) + books.in_flight

    def room(self) -> int:
        """Return how many frames may come in now, and leave it so."""
        tickets = []
        while (ticket := self.entry.admit(0.0)) is not None:
            tickets.append(ticket)
        for one in tickets:
            self.entry.release(one)
        return len(tickets)


Make = Callable[..., Session]


@pytest.fixture
def make(place: Place) -> Iterator[Make]:
    made: list[Session] = []

    def begin(*args: object, **members: object) -> Session:
        made.append(Session(place, plan(*args, **members)))  # type: ignore[arg-type]
        return made[-1]

    yield begin
    for session in made:
        session.closing.set()
        session.entry.close(remove=True)
        session.inbox.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as threads:
        yield threads


def test_a_frame_that_was_numbered_and_not_sent_goes_before_newer_ones(make: Make) -> None:
    """The loop numbers a frame and finds the way blocked: whoever sends next sends that one first."""
    session = make(window=4)
    entry, woken = session.entry, list[int]()
    ticket = entry.admit_at_once()
    assert ticket is not None
    frame = entry.number(ticket, (PART, [b"frame"]), (), None)
    entry.unsent.append(frame)
    entry.outcomes.call_when_done(frame.sequence, lambda: woken.append(frame.sequence))
    session.post()
    sequences = [header.sequence for header in (session.arrived(), session.arrived()) if header is not None]
    assert sequences == [0, 1]
    assert not woken
    session.answer(0)
    assert woken == [0]
    entry.outcomes.call_when_done(0, lambda: woken.append(-1))
    assert woken == [0, -1], "its result is there: called at once"


def test_many_clients_at_once_get_each_their_own_result(make: Make, pool: ThreadPoolExecutor) -> None:
    session = make(window=4)

    def client(_: int) -> Result | None:
        return session.entry.outcomes.wait(session.post().sequence, PATIENCE_S)

    results = [pool.submit(client, n) for n in range(100)]
    seen = []
    for _ in range(100):
        header = session.arrived()
        assert header is not None
        assert session.entry.in_flight <= 4
        assert session.balanced()
        seen.append(header.sequence)
        session.answer(header.sequence)
    assert seen == list(range(100)), "frames leave in the order of their numbers"
    assert sorted(r.sequence for f in results if (r := f.result(PATIENCE_S)) is not None) == list(range(100))
    books = session.entry.outcomes.read_books()
    assert (books.frames_in, books.delivered, books.in_flight) == (100, 100, 0)
    assert session.room() == 4


def test_the_end_of_a_session_ends_all_waiting(make: Make, pool: ThreadPoolExecutor) -> None:
    session = make(window=1)
    frame = session.post()
    waiting = pool.submit(session.entry.admit, 60.0)
    result = pool.submit(session.entry.outcomes.wait, frame.sequence, 60.0)
    stream = pool.submit(lambda: list(session.entry.outcomes.stream(-1, 60.0)))
    with pytest.raises(TimeoutError):
        waiting.result(0.2)
    session.entry.close(remove=True)
    with pytest.raises(Ended):
        waiting.result(PATIENCE_S)
    ended = result.result(PATIENCE_S)
    assert ended is not None
    assert ended.body["reason"] == "session_deleted"
    assert [r.sequence for r in stream.result(PATIENCE_S) if r] == [0], "its last results, then the end"


def test_a_frame_whose_body_comes_after_the_end_is_refused(make: Make) -> None:
    session = make()
    ticket = session.entry.admit(1.0)
    assert ticket is not None
    session.entry.close(remove=True)
    with pytest.raises(Ended):
        session.entry.open(ticket, (PART, [b"late"]), (), None)
    with pytest.raises(Ended):
        session.entry.admit(1.0)
    with pytest.raises(Ended):
        session.entry.drop_newest()


def test_a_place_given_back_goes_to_the_next(make: Make, pool: ThreadPoolExecutor) -> None:
    """A client vanished in the middle of its body."""
    session = make(window=1)
    ticket = session.entry.admit(1.0)
    assert ticket is not None
    waiting = pool.submit(session.entry.admit, 60.0)
    session.entry.release(ticket)
    assert waiting.result(PATIENCE_S) is not None
    assert session.entry.outcomes.read_books().frames_in == 0


def test_a_frame_that_cannot_be_sent_fails_and_leaves_its_place(make: Make) -> None:
    session = make(window=1)
    ticket = session.entry.admit(1.0)
    assert ticket is not None
    long = EmptyPart(status="ok", ended_by=1, reason="x" * packet.MAX_HEADER)
    frame = session.entry.open(ticket, (long, []), (), None)
    result = session.entry.outcomes.wait(frame.sequence, 0.0)
    assert result is not None
    assert (result.http_status, session.balanced(), session.room()) == (500, True, 1)


def test_live_drops_the_frame_that_waits_and_says_so(make: Make, pool: ThreadPoolExecutor) -> None:
    session = make(window=1, delivery=Delivery.LIVE)
    session.post()
    older = pool.submit(session.entry.admit, 60.0)
    with pytest.raises(TimeoutError):
        older.result(0.2)
    newer = pool.submit(session.entry.admit, 60.0)
    with pytest.raises(Dropped) as dropped:
        older.result(PATIENCE_S)
    assert dropped.value.result.http_status == 503
    session.answer(0)
    assert newer.result(PATIENCE_S) is not None
    assert session.entry.outcomes.read_books().dropped == {"live_newer": 1}
    assert session.balanced()


def test_a_repeat_on_its_way_in_is_no_second_frame(make: Make) -> None:
    """The client lost its patience while its first post waited for a place, and posted again."""
    session = make(window=2)
    first, second = session.entry.admit(1.0), session.entry.admit(1.0)
    assert first is not None
    assert second is not None
    frame = session.entry.open(first, (PART, [b"x"]), (), ("me", "1"))
    with pytest.raises(Repeated) as repeated:
        session.entry.open(second, (PART, [b"x"]), (), ("me", "1"))
    assert repeated.value.sequence == frame.sequence
    session.entry.release(second)
    session.answer(frame.sequence)
    assert session.entry.outcomes.known(("me", "1")) == frame.sequence
    assert session.room() == 2


def test_what_was_dropped_may_be_sent_again_what_was_delivered_not(make: Make) -> None:
    session = make()
    for number, status in enumerate(("dropped", "failed", "ok")):
        frame = session.post(key=("me", status))
        session.answer(frame.sequence, status)
        assert session.entry.outcomes.known(("me", status)) == (None if status == "dropped" else number)


def test_handlers_that_die_get_the_frames_again_but_not_the_one_that_kills(make: Make) -> None:
    session = make(window=2)
    killer, other = session.post(), session.post()
    assert [session.arrived(), session.arrived()] != [None, None]
    session.entry.care.handler_lost(1, killer.sequence)
    assert [h.sequence for h in (session.arrived(), session.arrived()) if h] == [0, 1]
    session.entry.care.handler_lost(1, killer.sequence)
    assert [h.sequence for h in (session.arrived(), session.arrived(0.1)) if h] == [other.sequence]
    result = session.entry.outcomes.wait(killer.sequence, 0.0)
    assert result is not None
    assert (result.status, result.http_status) == (FrameStatus.FAILED, 500)
    assert session.entry.outcomes.read_books().resent == 3


def test_nothing_waits_for_a_handler_that_gave_up(make: Make, pool: ThreadPoolExecutor) -> None:
    """Its inbox is gone, so the sending thread waits for it: the frame's end must end that too."""
    session = make(window=1)
    session.inbox.close()
    posting = pool.submit(session.post)
    with pytest.raises(TimeoutError):
        posting.result(0.3)
    start = time.monotonic()
    session.entry.care.handler_gave_up(1, "no model")
    result = session.entry.outcomes.wait(posting.result(PATIENCE_S).sequence, 0.0)
    assert time.monotonic() - start < 2
    assert result is not None
    assert (result.http_status, result.body["reason"]) == (500, "handler 1: no model")


def test_a_word_of_an_older_plan_that_a_handler_is_given_up_fails_nothing(make: Make) -> None:
    """Its node could not say so sooner; the handler is elsewhere by now."""
    session = make()
    session.entry.update(msgspec.structs.replace(session.plan, epoch=3, accept_from=3))
    frame = session.post()
    session.entry.care.hear(care.Lost(1, gave_up="killed by signal 9", epoch=2))
    assert session.entry.is_open(frame.sequence)
    session.entry.care.hear(care.Lost(1, gave_up="killed by signal 9", epoch=3))
    assert not session.entry.is_open(frame.sequence)


def test_a_death_that_is_told_twice_counts_once(make: Make) -> None:
    """The answer to the first word was lost on its way."""
    session = make()
    frame = session.post()
    for word in ("a", "a"):
        session.entry.care.hear(care.Lost(1, blame=frame.sequence, word=word))
    assert session.entry.is_open(frame.sequence)
    session.entry.care.hear(care.Lost(1, blame=frame.sequence, word="b"))
    assert not session.entry.is_open(frame.sequence)


def test_a_new_plan_is_taken_at_once_even_when_its_nodes_are_not_ready(make: Make) -> None:
    """Nodes learn of a plan one after the other: the first must not wait for the second to have it."""
    session = make(window=2)
    frames = [session.post(), session.post()]
    assert session.arrived() is not None
    start = time.monotonic()
    session.entry.update(plan(window=2, epoch=2, url="http://127.0.0.1:9"))  # nobody listens there
    assert time.monotonic() - start < 1
    session.entry.update(plan(window=2, epoch=3))
    deadline, found = time.monotonic() + PATIENCE_S, set[int]()
    while len(found) < 2 and time.monotonic() < deadline:
        header = session.arrived(0.5)
        if header is not None and header.epoch == 3:
            found.add(header.sequence)
    assert found == {f.sequence for f in frames}


def test_at_the_end_of_a_planned_move_the_oldest_late_frame_tells_the_new_place_what_is_answered(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1 and 2 wait at the new place of a stateful handler for 0, which the old place has answered meanwhile."""
    monkeypatch.setattr(module, "LATE_S", 0.0)
    session = make(window=4)
    first = session.post()
    session.entry.update(msgspec.structs.replace(session.plan, epoch=2))
    waiting = [session.post(), session.post()]
    headers = [session.arrived() for _ in range(3)]
    assert [(h.sequence, h.epoch, h.horizon) for h in headers if h] == [(0, 1, 0), (1, 2, 0), (2, 2, 0)]
    session.answer(first.sequence)
    session.entry.update(msgspec.structs.replace(session.plan, epoch=2, accept_from=2))
    again = session.arrived()
    assert again is not None
    assert (again.sequence, again.horizon) == (waiting[0].sequence, waiting[0].sequence)
    assert session.arrived(0.2) is None, "the other one follows it"


def test_a_frame_goes_to_all_its_targets_by_one_plan(make: Make) -> None:
    """A plan that comes between two packets of a frame finds it among those of the older epoch."""
    session = make()
    (target,) = session.entry.targets
    frame = session.post()
    session.entry.update(msgspec.structs.replace(session.plan, epoch=2))
    assert session.entry.header(frame, target).epoch == 1
    resent: list[int] = []
    session.entry.care.resend_soon = lambda frames=None: resent.extend(f.sequence for f in frames or [])  # type: ignore[method-assign]
    session.entry.update(msgspec.structs.replace(session.plan, epoch=2, accept_from=2))
    assert resent == [frame.sequence]


def test_a_body_that_came_under_an_older_plan_takes_the_longer_way(make: Make) -> None:
    session = make()
    (target,) = session.entry.targets
    slot = session.entry.sender.outlet(7, 1, 1).loan(4096)
    assert slot is not None
    frame = session.post()
    assert session.arrived() is not None
    session.entry.update(msgspec.structs.replace(session.plan, epoch=2))
    assert not send_in_place(session.entry, frame, posts.Place(slot, 2048, target))
    assert session.arrived(0.2) is None


def test_a_new_plan_may_have_another_window(make: Make, pool: ThreadPoolExecutor) -> None:
    session = make(window=1)
    session.post()
    waiting = pool.submit(session.entry.admit, PATIENCE_S)
    session.entry.update(plan(window=3, epoch=1))
    ticket = waiting.result(PATIENCE_S)
    assert ticket is not None
    assert session.room() == 1
    session.entry.release(ticket)
    session.entry.update(plan(window=1, epoch=1))
    assert session.room() == 0
    session.answer(0)
    assert session.room() == 1


def test_open_frames_wait_for_the_exits_of_the_newest_plan(make: Make) -> None:
    """First a second exit comes, which the one open frame needs too; then it goes, and nothing is missing any more."""
    session = make(window=4)
    frame = session.post()
    assert session.arrived() is not None
    two = msgspec.structs.replace(
        plan(window=4), graph=graph({1: STEP, 2: STEP}, "1>2"), results=[ResultSpec(handler_id=h) for h in (1, 2)]
    )
    two.routes[2] = two.routes[1]
    session.entry.update(two)
    again = session.arrived()
    assert again is not None
    assert again.sequence == frame.sequence, "what was sent under the old plan does not reach the new exit"
    session.answer(frame.sequence)
    assert session.entry.outcomes.wait(frame.sequence, 0.1) is None
    session.entry.update(plan(window=4))
    result = session.entry.outcomes.wait(frame.sequence, PATIENCE_S)
    assert result is not None
    assert result.status is FrameStatus.OK
    assert session.balanced()


def test_overdue_frames_are_sent_again_then_dropped(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    session = make()
    frame = session.post()
    assert session.arrived() is not None
    monkeypatch.setattr(care, "RESEND_S", 0.0)
    session.entry.care.look_after()
    again = session.arrived()
    assert again is not None
    assert again.sequence == frame.sequence
    monkeypatch.setattr(care, "DROP_S", 0.0)
    session.entry.care.look_after()
    result = session.entry.outcomes.wait(frame.sequence, 0.0)
    assert result is not None
    assert result.body["reason"] == "no_result"
    assert session.balanced()


def test_streams_hand_out_in_order_whatever_order_results_come_in(make: Make) -> None:
    session = make(window=3)
    for _ in range(3):
        session.post()
    stream = session.entry.outcomes.stream(-1, 0.01)
    session.answer(2)
    assert next(stream) is None, "frame 2 waits for 0 and 1"
    session.answer(0)
    first = next(stream)
    assert first is not None
    assert first.sequence == 0
    session.answer(1)
    assert [r.sequence for r in (next(stream), next(stream)) if r] == [1, 2]
    session.answer(1)
    assert next(stream) is None, "a repeat changes nothing"


def test_a_killed_gateways_answers_are_known_to_the_next(make: Make) -> None:
    """What was delivered is not processed again; what was in flight is, under a new number; the books follow."""
    before = make(window=4)
    answered, failed, open_one = (before.post(key=("me", name)) for name in ("answered", "failed", "open"))
    before.answer(answered.sequence)
    before.answer(failed.sequence, "failed")
    told = before.entry.outcomes.wait(answered.sequence, 0.0)
    after = make(window=4)  # the first is not closed: it was killed
    assert after.entry.outcomes.known(("me", "answered")) == answered.sequence
    assert after.entry.outcomes.known(("me", "failed")) == failed.sequence
    assert after.entry.outcomes.wait(answered.sequence, 0.0) == told
    with pytest.raises(Repeated):
        after.post(key=("me", "answered"))
    again = after.post(key=("me", "open"))
    assert again.sequence == open_one.sequence + 1
    books = after.entry.outcomes.read_books()
    assert (books.frames_in, books.delivered, books.dropped) == (4, 2, {"gateway_lost": 1})
    assert books.dropped_at == {"entry": {"gateway_lost": 1}}
    after.answer(again.sequence)
    assert [r.sequence for r in (next(after.entry.outcomes.stream(-1, 0.01)),) if r] == [0]
    assert after.balanced()


def test_books_follow_an_index_that_a_kill_left_ahead(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    before = make()
    frame = before.post(key=("me", "1"))
    monkeypatch.setattr(before.entry.outcomes.books, "deliver", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):  # killed between the index and the books
        before.answer(frame.sequence)
    after = make().entry.outcomes
    assert after.known(("me", "1")) == frame.sequence
    assert (after.read_books().delivered, after.read_books().dropped) == (1, {})
    monkeypatch.undo()


def test_an_entry_that_moves_finishes_what_is_in_flight(make: Make, pool: ThreadPoolExecutor) -> None:
    session = make(window=2)
    frames = [session.post(key=("me", str(n))) for n in range(2)]
    waiting = pool.submit(session.entry.admit, 60.0)
    with pytest.raises(TimeoutError):
        waiting.result(0.2)
    final = pool.submit(session.entry.hand_over, 60.0)
    for frame in frames:
        assert not final.done()
        session.answer(frame.sequence)
    books = final.result(PATIENCE_S)
    assert session.entry.admit_at_once() is None, "nobody comes in any more"
    with pytest.raises(TimeoutError):
        waiting.result(0.2)  # until it is known where the session is
    assert (books.frames_in, books.delivered, books.in_flight, books.dropped, books.next_sequence) == (2, 2, 0, {}, 2)
    assert [r.sequence for r in session.entry.outcomes.stream(-1, 60.0) if r] == [0, 1], "the stream ends"
    assert session.entry.outcomes.known(("me", "1")) == 1
    assert session.entry.hand_over(0.0) == books
    assert session.entry.moving
    session.entry.close(remove=True)
    with pytest.raises(Ended):
        waiting.result(PATIENCE_S)
    assert not session.entry.moving, "it has moved"


def test_what_a_moving_entry_cannot_finish_is_dropped_and_a_later_plan_takes_it_back(
    make: Make, pool: ThreadPoolExecutor
) -> None:
    session = make(window=2)
    session.post()
    under_way = session.entry.admit(PATIENCE_S)
    assert under_way is not None
    books = session.entry.hand_over(0.1)
    assert (books.in_flight, books.dropped_at) == (0, {"entry": {"entry_moved": 1}})
    with pytest.raises(Ended):
        session.entry.open(under_way, (PART, [b"frame"]), (), None)  # the final books do not have it
    session.entry.release(under_way)
    waiting = pool.submit(session.post)
    with pytest.raises(TimeoutError):
        waiting.result(0.2)
    session.entry.update(plan(window=2, epoch=2))  # the move failed
    assert waiting.result(PATIENCE_S).sequence == 1
    assert next(session.entry.outcomes.stream(0, 0.01)) is None, "streams go on"
    assert session.balanced()


def test_a_hand_over_that_nobody_comes_back_to_is_off(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The coordinator died in between; numbers that a successor may have given are not given again."""
    session = make()
    final = session.entry.hand_over(0.0)
    session.entry.look_after()
    assert session.entry.admit(0.0) is None
    monkeypatch.setattr(module, "HAND_OVER_S", 0.0)
    session.entry.look_after()
    assert session.post().sequence == final.next_sequence + module.GAP


def test_an_entry_that_is_prepared_early_learns_later_where_its_numbers_begin(make: Make) -> None:
    session = make()
    later = plan(epoch=2)
    session.entry.update(msgspec.structs.replace(later, entry=msgspec.structs.replace(later.entry, first_sequence=5)))
    assert [session.post().sequence, session.post().sequence] == [5, 6]


def test_a_frame_for_a_dead_replica_goes_to_a_living_one_at_once(make: Make) -> None:
    """Nobody listens at node 2; no newer plan says so yet."""
    session = make(window=8)
    routes = {1: [Route(node_id=2, url="http://127.0.0.1:9"), *session.plan.routes[1]]}
    session.entry.update(msgspec.structs.replace(session.plan, routes=routes))
    start = time.monotonic()
    for sequence in range(8):
        session.post()
        header = session.arrived()
        assert header is not None
        assert header.sequence == sequence
    assert time.monotonic() - start < PATIENCE_S
    assert session.entry.outcomes.read_books().resent == 0


def test_drops_are_booked_where_they_happened(make: Make) -> None:
    session = make()
    session.answer(session.post().sequence, "dropped")
    assert session.entry.outcomes.read_books().dropped_at == {"handler 1": {"dropped": 1}}


def test_strangers_change_nothing(make: Make) -> None:
    session = make()
    session.answer(99)
    frame = session.post()
    header = Header(session_id=7, epoch=1, sequence=0, timestamp=0.0, origin=1, handler_id=5, port=0)
    session.entry.report(Packet(header, [], 0))
    assert session.entry.is_open(frame.sequence)


def test_watchers_are_counted(make: Make) -> None:
    session = make()
    on_demand = msgspec.structs.replace(session.plan, results=[ResultSpec(handler_id=1, on_demand=True)])
    session.entry.update(on_demand)
    session.entry.watch(1)
    assert session.post().want == ((1, 0),)
    session.entry.watch(-1)
    assert session.post().want == ()
