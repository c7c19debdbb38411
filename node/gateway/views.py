"""What the data port answers: hops from other nodes, results from their exits, frames and questions from clients."""

import contextlib
import hmac
import time
from collections.abc import Callable, Iterator

import msgspec

from node.gateway.answers import answer
from node.gateway.care import Lost
from node.gateway.entry import Entry
from node.gateway.packets import Input, Reports, check_packet, check_sender
from node.gateway.posts import post_frame
from node.gateway.quick_post import quick_post
from node.gateway.results import Result
from node.gateway.sessions import Held, Sessions
from node.gateway.tasks import Task
from node.transport.connection import Connection
from node.transport.http11 import Disconnected, HttpError, Request
from node.transport.negotiation import accepts, prefer
from wire import access
from wire.access import Identity
from wire.guard import Guard

STREAM_IDLE_S = 10.0  # a silent stream shows that it lives
LOOK_S = 1.0  # how often those who wait are looked at: their token may have been taken away
LONGEST_WAIT_S = 300.0
VIDEO_BOUNDARY = "frame"


class Views:
    """One per gateway; `task` runs in the loop, a call in a thread."""

    def __init__(self, sessions: Sessions, max_frame_bytes: int, guard: Guard) -> None:
        self._sessions = sessions
        self._max_frame = max_frame_bytes
        self._guard = guard

    def __call__(self, request: Request, connection: Connection) -> None:
        """Answer *request*. Raises HttpError."""
        packets = self._packets(request)
        if packets is not None:
            task = packets.task(request)
            connection.read_body_into(task.room)
            task.complete(connection, nothing)
            return
        match request.path:
            case ["healthz"] | ["readyz"]:
                connection.respond(200, {"Content-Type": "application/json"}, b'{"status": "ok"}')
            case ["sessions", session, "lost"]:
                sender = self._authorize(request, "POST /sessions/<session>/lost")
                self._only(request, "POST")
                self._lost(self._session(session), sender, request, connection)
            case ["sessions", session, key, *rest]:
                self._client(self._of_client(session, key), rest, request, connection)
            case _:
                self._known(request)
                raise HttpError(404, f"nothing at /{'/'.join(request.path)}")

    def task(self, request: Request) -> Task | None:
        """Return how *request* is answered without waiting; None: a thread must. Raises HttpError."""
        packets = self._packets(request)
        if packets is not None:
            return packets.task(request)
        match request.path:
            case ["sessions", _, "lost"]:
                return None
            case ["sessions", session, key] if request.method == "POST" and not self._sessions.draining:
                held = self._of_client(session, key)
                self._authorize(request, "POST /sessions/<session>/<key>")
                return quick_post(held, entry_of(held), request, self._max_frame)
        return None

    def _packets(self, request: Request) -> Input | Reports | None:
        """Return where the packets with this head go, or None when it is no other node's. Raises HttpError."""
        if isinstance(request.resolved, Input) and request.resolved.keys is self._guard.keys:
            return request.resolved
        match request.path:
            case ["sessions", session, "handlers", handler, "inputs", port]:
                sender = self._authorize(request, "POST /sessions/<session>/handlers/<handler>/inputs/<port>")
                self._only(request, "POST")
                target = self._resolve(self._session(session), number(handler), number(port), sender, request)
                request.resolved = target
                return target
            case ["sessions", session, "results"]:
                sender = self._authorize(request, "POST /sessions/<session>/results")
                self._only(request, "POST")
                held = self._session(session)
                entry = entry_of(held)
                check_packet(request, self._max_frame)
                return Reports(held, entry, sender.node_id)
        return None

    # --- who may ask ---------------------------------------------------------------------------------

    def _known(self, request: Request) -> Identity:
        """Return who asks. Raises HttpError 401."""
        sender = self._guard.keys.identify(request.headers.get("authorization"))
        if sender is None:
            raise HttpError(401, "send `Authorization: Bearer TOKEN`")
        return sender

    def _authorize(self, request: Request, call: str) -> Identity:
        """Return who makes *call* (as wire.access names it) when they may. Raises HttpError 401, 403."""
        roles = access.roles_for("data port", call)
        if roles is access.OPEN:
            return access.ANYBODY
        sender = self._known(request)
        reason = access.refusal(sender, roles)
        if reason is not None:
            raise HttpError(403, reason)
        return sender

    def _welcome(self, request: Request, call: str) -> Callable[[], None]:
        """Authorize, and return what does it again whenever tokens have changed. Raises HttpError."""
        keys = self._guard.keys
        self._authorize(request, call)

        def welcome() -> None:
            nonlocal keys
            if self._guard.keys is not keys:
                keys = self._guard.keys
                self._authorize(request, call)

        return welcome

    @staticmethod
    def _only(request: Request, *methods: str) -> None:
        if request.method not in methods:
            allow = ", ".join(methods)
            raise HttpError(405, f"{request.method} here; allowed: {allow}", allow=allow)

    def _session(self, text: str) -> Held:
        held = self._sessions.get(number(text))
        if held is None:
            raise HttpError(404, f"no session {text} on this node")
        return held

    # --- other nodes ---------------------------------------------------------------------------------

    def _resolve(self, held: Held, handler_id: int, port: int, sender: Identity, request: Request) -> Input:
        """Return the input that an authorized head means, checked. Raises HttpError."""
        if not held.here(handler_id):
            raise HttpError(404, f"handler {handler_id} of session {held.session_id} is not on this node")
        if port >= held.topology.inputs(handler_id):
            raise HttpError(404, f"handler {handler_id} has no input {port}")
        check_packet(request, self._max_frame)
        outlet = held.outlet(handler_id)
        return Input(self._sessions, held, handler_id, port, outlet, self._guard.keys, sender.node_id)

    def _lost(self, held: Held, sender: Identity, request: Request, connection: Connection) -> None:
        entry = entry_of(held)
        check_sender(held, sender.node_id)
        if request.content_length > 65536:
            raise HttpError(413, "over 64 KiB")
        try:
            lost = msgspec.json.decode(connection.read_body(), type=Lost)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise HttpError(422, str(error)) from error
        connection.accept()
        entry.care.hear(lost)

    # --- clients -------------------------------------------------------------------------------------

    def _of_client(self, session: str, key: str) -> Held:
        """Return the session that a client's URL names. Raises HttpError."""
        held = self._session(session)
        if not hmac.compare_digest(key.encode(), held.plan.entry.key.encode()):
            raise HttpError(404, f"no session {held.session_id} at this URL")
        return held

    def _client(self, held: Held, rest: list[str], request: Request, connection: Connection) -> None:
        entry = entry_of(held)
        base = "/sessions/<session>/<key>"
        match rest:
            case []:
                self._authorize(request, f"POST {base}")
                self._frame(held, entry, request, connection)
            case ["results"]:
                welcome = self._welcome(request, f"GET {base}/results")
                self._only(request, "GET")
                self._stream(entry, request, connection, welcome)
            case ["results", sequence]:
                welcome = self._welcome(request, f"GET {base}/results/<sequence>")
                self._only(request, "GET")
                self._one(entry, number(sequence), request, connection, welcome)
            case ["video"]:
                self._authorize(request, f"GET {base}/video")
                self._only(request, "GET")
                self._video(held, entry, connection)
            case _:
                self._known(request)
                raise HttpError(404, f"nothing at /{'/'.join(request.path)}")

    def at_port(self, session_id: int, request: Request, connection: Connection) -> None:
        """Answer *request* at the port that a session of the older protocol has opened. Raises HttpError."""
        self._authorize(request, "POST /")
        if request.path != [""]:
            raise HttpError(404, "frames are posted to / here")
        held = self._session(str(session_id))
        self._frame(held, entry_of(held), request, connection)

    def _frame(self, held: Held, entry: Entry, request: Request, connection: Connection) -> None:
        self._only(request, "POST")
        if self._sessions.draining:
            raise HttpError(503, "this node is shutting down", retry_after=1.0)
        post_frame(held, entry, request, connection, self._max_frame)

    def _one(
        self, entry: Entry, sequence: int, request: Request, connection: Connection, welcome: Callable[[], None]
    ) -> None:
        """One result; waits for it as long as Prefer says."""
        wanted = prefer(request.headers).get("wait", "0")
        patience_s = min(float(wanted), LONGEST_WAIT_S) if wanted.isascii() and wanted.isdigit() else 0.0
        result = awaited(entry, sequence, patience_s, welcome)
        if result is None and entry.is_open(sequence):
            headers = {"Retry-After": "1", "Content-Type": "application/json"}
            connection.respond(202, headers, b'{"status": "in_flight"}')
        elif result is None:
            raise HttpError(404, f"no result {sequence}: not taken yet, or too old")
        else:
            media = accepts(request.headers, ["application/json", "image/jpeg", "image/png"])
            answer(result, connection, picture=media is not None and media.startswith("image/"), status=200)

    def _stream(self, entry: Entry, request: Request, connection: Connection, welcome: Callable[[], None]) -> None:
        """Results in order, each once, while their reader is *welcome*: NDJSON, or server-sent events."""
        after = request.query.get("after", "-1")
        if after != "-1" and not (after.isascii() and after.isdigit() and len(after) < 19):
            raise HttpError(400, f"after={after!r} is no sequence")
        sse = accepts(request.headers, ["application/x-ndjson", "text/event-stream"]) == "text/event-stream"
        media = "text/event-stream" if sse else "application/x-ndjson"
        connection.start_chunks({"Content-Type": media, "Cache-Control": "no-store"})
        with contextlib.suppress(Disconnected, HttpError):
            for result in told(entry.outcomes.stream(int(after), LOOK_S), welcome):
                connection.send(event(result, sse))

    def _video(self, held: Held, entry: Entry, connection: Connection) -> None:
        """Pictures as they come, newest first when the viewer is slow."""
        if not held.makes_pictures:
            raise HttpError(406, "this service makes no pictures")
        kind = f"multipart/x-mixed-replace; boundary={VIDEO_BOUNDARY}"
        connection.start_chunks({"Content-Type": kind, "Cache-Control": "no-store"})
        entry.watch(1)
        try:
            for result in entry.outcomes.stream(-1, STREAM_IDLE_S):
                if result is not None and result.picture is not None:
                    connection.send(video_part(result))
                elif connection.peer_gone():
                    return
        except Disconnected:
            return
        finally:
            entry.watch(-1)


def told(results: Iterator[Result | None], welcome: Callable[[], None]) -> Iterator[Result | None]:
    """Yield *results*, and of their silences one each STREAM_IDLE_S. Raises what *welcome* raises."""
    spoken = time.monotonic()
    for result in results:
        welcome()
        if result is not None or time.monotonic() - spoken >= STREAM_IDLE_S:
            spoken = time.monotonic()
            yield result


def awaited(entry: Entry, sequence: int, patience_s: float, welcome: Callable[[], None]) -> Result | None:
    """Return the result of *sequence*, waiting for it up to *patience_s*. Raises what *welcome* raises."""
    deadline = time.monotonic() + patience_s
    while (result := entry.outcomes.wait(sequence, min(LOOK_S, max(0.0, deadline - time.monotonic())))) is None:
        if time.monotonic() >= deadline or not entry.is_open(sequence):
            return entry.outcomes.wait(sequence, 0.0)
        welcome()
    return result


def nothing() -> None:
    """Packets are answered at once: nobody needs to be woken."""


def number(text: str) -> int:
    """Return a non-negative number of a path. Raises HttpError 404."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise HttpError(404, f"{text[:40]!r} is no id")
    return int(text)


def entry_of(held: Held) -> Entry:
    """Return the session's entry. Raises HttpError 404 when it is on another node."""
    if held.entry is None:
        raise HttpError(404, f"the entry of session {held.session_id} is not on this node")
    return held.entry


def event(result: Result | None, sse: bool) -> bytes:
    """Return a line of a result stream; None is a sign of life."""
    if sse:
        return b": alive\n\n" if result is None else b"id: %d\ndata: %s\n\n" % (result.sequence, result.json())
    return b"\n" if result is None else result.json() + b"\n"


def video_part(result: Result) -> bytes:
    """Return one picture of the MJPEG stream."""
    picture = result.picture
    if picture is None:
        return b""
    head = f"--{VIDEO_BOUNDARY}\r\nContent-Type: {picture.media_type}\r\nContent-Length: {len(picture.data)}\r\n"
    return f"{head}X-Timestamp: {time.time():.6f}\r\n\r\n".encode() + picture.data + b"\r\n"
