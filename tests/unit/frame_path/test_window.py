"""The window: an exact count of open places, whatever clients, results and the session's end do in what order."""

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from node.gateway.results import Exit, Piece
from node.gateway.window import OpenFrame, Ticket, Window
from wire.messages import Delivery
from wire.packet import EncodedPart

EXITS: frozenset[Exit] = frozenset({(5, 0), (6, 1)})
PIECE = Piece(None, None, [])


def frame(sequence: int, opened: float = 0.0) -> OpenFrame:
    return OpenFrame(sequence, 0.0, opened, (), None, (EncodedPart("image/jpeg", 0), [b""]), EXITS)


def nothing() -> None:
    """Wake nobody."""


class WindowMachine(RuleBasedStateMachine):
    """Against a plain model: those who wait in order, places taken, frames open."""

    tickets: Bundle[Ticket] = Bundle("tickets")

    @initialize(size=st.integers(1, 4), live=st.booleans())
    def begin(self, size: int, live: bool) -> None:
        self.size, self.live = size, live
        self.window = Window(size, Delivery.LIVE if live else Delivery.LOSSLESS)
        self.waiting: list[Ticket] = []
        self.reserved: list[Ticket] = []
        self.dropped: list[Ticket] = []
        self.open: list[int] = []
        self.woken: list[int] = []
        self.asked = self.sequence = 0
        self.ended = False

    def _model_advance(self) -> None:
        while self.waiting and len(self.reserved) + len(self.open) < self.size:
            self.reserved.append(self.waiting.pop(0))

    @rule(target=tickets)
    def ask(self) -> Ticket:
        number = self.asked
        self.asked += 1
        room = len(self.reserved) + len(self.open) < self.size
        assert self.window.free == (room and not self.waiting and not self.ended), "nobody is passed over"
        ticket = self.window.ask(lambda: self.woken.append(number))
        if self.ended:
            assert ticket.ended
            return ticket
        if len(self.reserved) + len(self.open) >= self.size and self.live and self.waiting:
            self.dropped.append(self.waiting.pop(0))
        self.waiting.append(ticket)
        self._model_advance()
        return ticket

    @rule(ticket=tickets)
    def leave(self, ticket: Ticket) -> None:
        """Patience is over, or the body never came. Leaving twice changes nothing."""
        self.window.leave(ticket)
        for queue in (self.waiting, self.reserved):
            if ticket in queue:
                queue.remove(ticket)
        self._model_advance()

    @rule(ticket=consumes(tickets))
    def put(self, ticket: Ticket) -> None:
        if ticket not in self.reserved:
            with pytest.raises(ValueError, match="not admitted"):
                self.window.put(ticket, frame(self.sequence))
            return
        self.window.put(ticket, frame(self.sequence))
        self.reserved.remove(ticket)
        self.open.append(self.sequence)
        self.sequence += 1
        self.window.leave(ticket)  # as a careless caller would: the place belongs to the frame now

    @rule(data=st.data())
    def report(self, data: st.DataObject) -> None:
        sequence = data.draw(st.integers(0, self.sequence))
        exit_ = data.draw(st.sampled_from([*sorted(EXITS), (9, 9)]))
        done = self.window.report(sequence, exit_, PIECE)
        if sequence not in self.open or exit_ not in EXITS:
            assert done is None
        elif done is not None:
            assert set(done.pieces) == EXITS
            self._close(sequence)

    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        if self.open:
            self._close(data.draw(st.sampled_from(self.open)))

    def _close(self, sequence: int) -> None:
        closed = self.window.close(sequence)
        assert closed is not None
        assert closed.sequence == sequence
        self.open.remove(sequence)
        self._model_advance()

    @rule()
    def end(self) -> None:
        if self.asked > 6:
            self.window.end()
            assert all(t.ended for t in self.waiting)
            self.waiting.clear()
            self.ended = True

    @invariant()
    def never_more_than_the_window(self) -> None:
        assert sorted(self.window.open) == self.open
        assert len(self.open) + len(self.reserved) <= self.size
        assert self.window.full == (len(self.open) + len(self.reserved) == self.size)

    @invariant()
    def every_ticket_is_where_the_model_has_it(self) -> None:
        assert all(t.admitted for t in self.reserved)
        assert all(not (t.admitted or t.dropped or t.ended) for t in self.waiting)
        assert all(t.dropped and not t.admitted for t in self.dropped)
        assert self.live or not self.dropped
        assert not self.waiting or len(self.open) + len(self.reserved) == self.size
        assert len(self.waiting) <= (1 if self.live else self.asked)

    @invariant()
    def nobody_is_woken_twice(self) -> None:
        assert len(self.woken) == len(set(self.woken))

    @invariant()
    def results_are_held_back_behind_the_lowest_open_frame(self) -> None:
        assert self.window.horizon() == min(self.open, default=None)


TestWindow = WindowMachine.TestCase
TestWindow.settings = settings(max_examples=120, stateful_step_count=30)


def admitted(window: Window, sequence: int, opened: float = 0.0) -> OpenFrame:
    ticket = window.ask(nothing)
    assert ticket.admitted
    made = frame(sequence, opened)
    window.put(ticket, made)
    return made


def test_a_repeated_report_changes_nothing() -> None:
    window = Window(2, Delivery.LOSSLESS)
    open_ = admitted(window, 0)
    first, second = Piece("first", None, []), Piece("second", None, [])
    assert window.report(0, (5, 0), first) is None
    assert window.report(0, (5, 0), second) is None
    assert open_.pieces == {(5, 0): first}
    assert window.report(0, (6, 1), second) is open_


def test_overdue_frames_are_sent_again_and_then_given_up() -> None:
    window = Window(3, Delivery.LOSSLESS)
    old, again, fresh = admitted(window, 0, 0.0), admitted(window, 1, 50.0), admitted(window, 2, 69.0)
    assert window.overdue(70.0, 15.0, 60.0) == ([again], [old])
    again.resent = 60.0
    assert window.overdue(70.0, 15.0, 60.0) == ([], [old])
    assert window.overdue(84.5, 15.0, 60.0) == ([again, fresh], [old])


@pytest.mark.parametrize("delivery", Delivery)
def test_those_who_wait_come_in_by_their_turn(delivery: Delivery) -> None:
    window = Window(1, delivery)
    admitted(window, 0)
    order: list[int] = []

    def wake(number: int) -> Callable[[], None]:
        return lambda: order.append(number)

    tickets = [window.ask(wake(n)) for n in range(3)]
    if delivery is Delivery.LIVE:
        assert [t.dropped for t in tickets] == [True, True, False], "the newest matters most"
    window.close(0)
    first = next(t for t in tickets if not t.dropped)
    assert first.admitted
    assert order == ([0, 1, 2] if delivery is Delivery.LIVE else [0])
