"""A client posts a frame: checks, a place in the window, the body straight into shared memory, the answer."""

import logging
import math
import time
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from node.gateway.answers import answer
from node.gateway.entry import Dropped, Ended, Entry, Repeated
from node.gateway.results import Exit
from node.gateway.sessions import Held
from node.gateway.window import Content, OpenFrame, Ticket
from node.transport.channel import ChannelError, Slot
from node.transport.connection import Connection
from node.transport.http11 import HttpError, Request
from node.transport.negotiation import accepts, prefer
from node.transport.routing import Target
from wire import packet
from wire.packet import MEDIA_TYPE, EncodedPart, PacketError

log = logging.getLogger(__name__)

DEFAULT_WAIT_S, LONGEST_WAIT_S = 30.0, 300.0
MOVING_S = 0.2  # when to ask again while the entry moves
LATEST = 1e11  # s since the epoch: as the telemetry tables have it
PICTURES = ["image/jpeg", "image/png"]


@dataclass(frozen=True)
class Post:
    """What a client asks for with a frame."""

    media_type: str
    want: tuple[Exit, ...]
    picture: bool
    key: tuple[str, str] | None
    timestamp: float | None  # the client's own, s since the epoch
    deadline: float  # monotonic s: the client waits no longer, neither for a place nor for the result
    wait: bool

    @property
    def patience_s(self) -> float:
        """Return the seconds that the client still waits."""
        return max(0.0, self.deadline - time.monotonic())


def post_frame(held: Held, entry: Entry, request: Request, connection: Connection, max_frame: int) -> None:
    """Take a frame and answer with its result. Raises HttpError."""
    post = read_post(held, entry, request, max_frame)
    known = entry.outcomes.known(post.key) if post.key else None
    if known is None:
        try:
            known = take(held, entry, post, request.content_length, connection)
        except Dropped as dropped:
            connection.skip_body(max_frame)
            answer(dropped.result, connection, picture=False)
            return
        except Ended as error:
            raise ended(held, entry) from error
    else:
        connection.skip_body(max_frame)
    reply(held, entry, post, known, connection)


def ended(held: Held, entry: Entry) -> HttpError:
    """Return the answer to a frame that this entry takes no more: it moves to another node, or the session is over."""
    if entry.moving:
        return HttpError(503, f"the entry of session {held.session_id} is moving", retry_after=MOVING_S)
    return HttpError(404, f"session {held.session_id} has ended here")


def read_post(held: Held, entry: Entry, request: Request, max_frame: int) -> Post:
    """Check the head of a post. Raises HttpError with the honest status."""
    if held.state != "running":
        raise HttpError(409, f"session {held.session_id} is {held.state}, not running")
    if entry.has_source:
        raise HttpError(409, f"session {held.session_id} makes its own frames: read its results or its video")
    if not request.content_length:
        raise HttpError(400, "empty body")
    if request.content_length > max_frame:
        raise HttpError(413, f"frame of {request.content_length} bytes is over {max_frame}")
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type != MEDIA_TYPE and not media_type.startswith("image/"):
        raise HttpError(415, f"Content-Type is {media_type or 'missing'}: send image/* or {MEDIA_TYPE}")
    accepted = accepts(request.headers, ["application/json", *PICTURES])
    picture = accepted in PICTURES
    want = entry.picture_exits() if picture else ()
    if accepted is None or (picture and not held.makes_pictures):
        raise HttpError(406, "this service makes no pictures" if picture else "application/json or image/jpeg")
    seconds, wait = patience(request)
    deadline = time.monotonic() + seconds
    return Post(media_type, want, picture, client_key(request), client_time(request), deadline, wait)


def client_key(request: Request) -> tuple[str, str] | None:
    """Return the client's own name and number of the frame, when it gives both."""
    client, sequence = request.headers.get("x-client"), request.headers.get("x-sequence")
    return (client, sequence) if client and sequence else None


def client_time(request: Request) -> float | None:
    """Return when the frame was made by the client's word (X-Timestamp), s since the epoch. Raises HttpError 400."""
    text = request.headers.get("x-timestamp")
    if text is None:
        return None
    try:
        timestamp = float(text)
    except ValueError:
        timestamp = math.nan
    if not 0 <= timestamp <= LATEST:
        raise HttpError(400, f"X-Timestamp: {text[:40]!r} is no number of seconds since the epoch")
    return timestamp


def patience(request: Request) -> tuple[float, bool]:
    """Return (seconds that the client waits, whether it waits for the result)."""
    wishes = prefer(request.headers)
    try:
        seconds = float(wishes.get("wait", DEFAULT_WAIT_S))
    except ValueError as error:
        raise HttpError(400, f"Prefer: wait={wishes['wait']!r} is no number") from error
    if math.isnan(seconds):
        raise HttpError(400, "Prefer: wait=nan is no number")
    return min(max(seconds, 0.0), LONGEST_WAIT_S), "respond-async" not in wishes


def take(held: Held, entry: Entry, post: Post, length: int, connection: Connection) -> int:
    """Bring the frame into the session; returns its sequence. Raises HttpError, Dropped, Ended."""
    ticket = entry.admit(post.patience_s)
    if ticket is None:
        if entry.moving:
            raise ended(held, entry)
        raise HttpError(503, f"the window of {held.plan.window} frames is full", retry_after=1.0)
    try:
        if post.media_type == MEDIA_TYPE:
            return take_packet(entry, ticket, post, connection)
        return take_picture(held, entry, ticket, post, length, connection)
    except Repeated as repeated:
        return repeated.sequence
    finally:
        if ticket.admitted:  # not used up by a frame
            entry.release(ticket)


def take_packet(entry: Entry, ticket: Ticket, post: Post, connection: Connection) -> int:
    """Take the payload of a posted packet; the entry writes a header of its own. Raises HttpError 422."""
    try:
        arrived = packet.decode(memoryview(connection.read_body()))
    except PacketError as error:
        raise HttpError(422, str(error)) from error
    if arrived.header.payload is None:
        raise HttpError(422, "a packet without a payload")
    content: Content = (arrived.header.payload, [bytes(b) for b in arrived.buffers])
    return entry.open(ticket, content, post.want, post.key, timestamp=post.timestamp).sequence


def take_picture(held: Held, entry: Entry, ticket: Ticket, post: Post, length: int, connection: Connection) -> int:
    """Receive an encoded picture into the first handler's inbox when that is here, else into memory."""
    part = EncodedPart(media_type=post.media_type, buffer=0)
    place = loan(held, entry, part, length)
    if place is None:
        body = bytes(connection.read_body())
        return entry.open(ticket, (part, [body]), post.want, post.key, timestamp=post.timestamp).sequence
    connection.read_body_into(place.body)
    content: Content = (part, [bytes(place.body)])  # the entry's own copy, to send the frame again
    with entry.dispatching:
        entry.catch_up()
        frame = entry.number(ticket, content, post.want, post.key, post.timestamp)
        if not send_in_place(entry, frame, place):
            entry.dispatch(frame)
    return frame.sequence


class Place(NamedTuple):
    """Room for a frame in the first handler's inbox."""

    slot: Slot
    room: int  # bytes, for the header before the body
    target: Target  # whose inbox it is, by the plan of then

    @property
    def body(self) -> memoryview:
        """Where the body belongs."""
        return self.slot.view[self.room :]


def send_in_place(entry: Entry, frame: OpenFrame, place: Place) -> bool:
    """Write the header before the body that is in the slot, and send both. Returns False when that cannot be, or when
    the frame is numbered under another plan by now.
    """
    if entry.targets[0] is not place.target:
        return False
    try:
        header = entry.header(frame, place.target)
        place.slot.view[: place.room] = packet.encode_head(header, [len(place.body)], place.room)
        return place.slot.send()
    except (PacketError, ChannelError) as error:
        log.warning("a frame of session %s takes the longer way: %s", entry.session_id, error)
        return False


def loan(held: Held, entry: Entry, part: EncodedPart, length: int) -> Place | None:
    """Return room in the first handler's inbox, or None when it is elsewhere or full."""
    target = entry.targets[0]
    if len(target.replicas) > 1 or target.handler_id not in held.plan.local:
        return None
    longest = OpenFrame(2**62, 0.5, 0.0, tuple(entry.picture_exits()), None, (part, []), frozenset())
    room = packet.head_room(entry.header(longest, target), [length])
    slot = held.outlet(target.handler_id).loan(room + length)
    return None if slot is None else Place(slot, room, target)


def reply(held: Held, entry: Entry, post: Post, sequence: int, connection: Connection) -> None:
    """Answer with the result, or with where it will be."""
    location = f"/sessions/{held.session_id}/{held.plan.entry.key}/results/{sequence}"
    result = entry.outcomes.wait(sequence, post.patience_s) if post.wait else None
    if result is not None:
        answer(result, connection, picture=post.picture)
        return
    body = msgspec.json.encode({"session_id": held.session_id, "sequence": sequence, "status": "in_flight"})
    headers = {"Location": location, "X-Frame-Sequence": str(sequence), "Content-Type": "application/json"}
    connection.respond(202, headers, body)
