"""A client's picture that needs no thread: there is a place in the window, and a slot in the first handler's inbox."""

from collections.abc import Callable

from node.gateway.entry import Ended, Entry, Repeated
from node.gateway.posts import Place, Post, ended, loan, read_post, reply, send_in_place
from node.gateway.sessions import Held
from node.gateway.tasks import MustWait
from node.gateway.window import Ticket
from node.transport.connection import Connection
from node.transport.http11 import Request
from wire.packet import MEDIA_TYPE, EncodedPart

SHORT_S = 1.0  # whoever has less patience is answered to the millisecond, by a thread


def quick_post(held: Held, entry: Entry, request: Request, max_frame: int) -> "QuickPost | None":
    """Return the taking of a posted frame, or None when that may have to wait for something. Raises HttpError."""
    post = read_post(held, entry, request, max_frame)
    if post.media_type == MEDIA_TYPE or post.patience_s < SHORT_S or entry.unsent:
        return None
    if post.key is not None and entry.outcomes.known(post.key) is not None:
        return None
    ticket = entry.admit_at_once()
    if ticket is None:
        return None
    part = EncodedPart(media_type=post.media_type, buffer=0)
    place = loan(held, entry, part, request.content_length)
    if place is None:
        entry.release(ticket)
        return None
    return QuickPost(held, entry, post, ticket, part, place)


class QuickPost:
    """One posted picture, received straight into the first handler's inbox."""

    def __init__(self, held: Held, entry: Entry, post: Post, ticket: Ticket, part: EncodedPart, place: Place) -> None:
        self._held = held
        self._entry = entry
        self._post = post
        self._ticket = ticket
        self._part = part
        self._place = place
        self._sequence = -1
        self.room = place.body
        self.due = post.deadline

    def complete(self, connection: Connection, wake: Callable[[], None]) -> bool:
        """Number the frame and hand it to the first handler; when the way is not free a thread does it, in turn."""
        entry = self._entry
        if not entry.dispatching.acquire(blocking=False):
            raise MustWait(lambda: self._take_turn(wake))
        try:
            if entry.unsent:
                raise MustWait(lambda: self._take_turn(wake))
            if not self._send(wake):
                raise MustWait(entry.catch_up)
        finally:
            entry.dispatching.release()
        return False

    def _take_turn(self, wake: Callable[[], None]) -> None:
        with self._entry.dispatching:
            self._entry.catch_up()
            self._send(wake)
            self._entry.catch_up()

    def _send(self, wake: Callable[[], None]) -> bool:
        """Number and send; returns False when it was numbered only. Raises HttpError."""
        entry, post = self._entry, self._post
        try:
            copy = [bytes(self.room)]  # the entry's own, to send the frame again
            frame = entry.number(self._ticket, (self._part, copy), post.want, post.key, post.timestamp)
        except Repeated as repeated:
            self._expect(repeated.sequence, wake)
            return True
        except Ended as error:
            raise ended(self._held, entry) from error
        finally:
            self.abandon()
        self._expect(frame.sequence, wake)
        if send_in_place(entry, frame, self._place):
            return True
        entry.unsent.append(frame)
        return False

    def _expect(self, sequence: int, wake: Callable[[], None]) -> None:
        self._sequence = sequence
        if self._post.wait:
            self._entry.outcomes.call_when_done(sequence, wake)
        else:
            wake()

    def answer(self, connection: Connection) -> None:
        """Send the result, or where it will be: nobody waits here any more."""
        reply(self._held, self._entry, self._post, self._sequence, connection)

    def abandon(self) -> None:
        """Give the place in the window back, unless a frame has it."""
        if self._ticket.admitted:
            self._entry.release(self._ticket)
