"""FaceClient: pictures in, results out, over one session.

    stream: caller's pictures ─feeder thread─▶ deliveries (window threads) ─▶ InOrder (window) ─▶ caller

The window bounds what is under way and what waits to be handed out; nothing is dropped here.
"""

import logging
import re
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from os import environ
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from client.address import Address, Urls, usable
from client.coordinator import Coordinator, Session
from client.credentials import credential_of
from client.delivery import Delivery, Wishes
from client.errors import ClientError
from client.frames import Frame, Picture, to_frame, to_frames
from client.ordering import Closed, InOrder, Turnstile
from client.results import Result
from wire import structs
from wire.messages import SessionRequest

structs.learn()  # results are decoded in several threads

DEFAULT_COORDINATOR = "http://127.0.0.1:9002"

log = logging.getLogger(__name__)


class FaceClient:
    """A session for one program: created here and deleted at the end, or attached to.

    service: name or id of the service to create a session of; *options* are the members of `POST /sessions`
    (variant, algorithm, objective, pin, params, delivery, window, ...), as `wire.messages.SessionRequest` has them.
    session: instead, an existing session: its id, its URL at the coordinator, or its session URL.
    coordinator, token, ca: what FACESERVICE_URL, FACESERVICE_TOKEN and FACESERVICE_CA of the environment say, unless
    given. ca: PEM file of the authority that https peers must have their certificates from (else the system's).
    picture: True asks for the drawn picture of every frame too.
    Raises ClientError (each message says what to do next).
    """

    def __init__(
        self,
        service: str | int | None = None,
        *,
        session: int | str | None = None,
        coordinator: str | None = None,
        token: str | None = None,
        ca: str | Path | None = None,
        picture: bool = False,
        patience_s: float = 60.0,
        **options: Any,
    ) -> None:
        if (service is None) == (session is None):
            raise ClientError("give either a service to create a session of, or a session to attach to")
        url = coordinator or environ.get("FACESERVICE_URL") or DEFAULT_COORDINATOR
        credential = credential_of(environ, token, ca)
        self.coordinator = Coordinator(url, credential)
        self.session: Session | None = None
        self._picture = picture
        self._created = service is not None
        self._numbers = 0
        self._lock = threading.Lock()
        if service is not None:
            self.session = self.coordinator.create(SessionRequest(service=service, **options))
            address = self._address(self.session)
        else:
            address = self._attach(session)
        wait_s = min(30.0, patience_s)
        self._delivery = Delivery(address, Wishes(uuid4().hex, credential, wait_s, patience_s))
        self._window = int(options.get("window", 16))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        where = f"session {self.session.session_id}" if self.session else "a session by its URL"
        return f"<FaceClient {where}, {self._numbers} frames>"

    def post(self, picture: Picture, name: str = "") -> Result:
        """Send one picture (Frame, bytes, path or uint8 BGR array) and return its result. Safe for threads."""
        frame = to_frame(picture, name)
        return self._deliver(frame, self._number())

    def stream(self, pictures: Iterable[Picture], *, window: int | None = None) -> Iterator[Result]:
        """Yield the result of each of *pictures*, in their order, each once; *window* frames are under way at most.

        *pictures* is read ahead by the window, in a thread of its own. One stream or post at a time keeps the order
        in which frames leave. An error of *pictures* or of a delivery is raised in its place in the order.
        """
        size = max(1, window or self._window)
        results: InOrder[Future[Result]] = InOrder(size)
        turnstile = Turnstile()
        workers = ThreadPoolExecutor(size, thread_name_prefix="delivery")
        feed = threading.Thread(target=self._feed, args=(pictures, results, workers, turnstile), daemon=True)
        feed.start()
        try:
            for future in results:
                yield future.result()
        finally:
            results.close()
            turnstile.open()
            workers.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End what is under way and delete the session if it was created here."""
        self._delivery.close()
        if self._created and self.session is not None:
            self._created = False
            try:
                self.coordinator.delete(self.session.session_id)
            except ClientError as error:  # the caller has its results; the error that ended it matters more
                log.warning("session %s is left behind: %s", self.session.session_id, error)

    def _feed(
        self,
        pictures: Iterable[Picture],
        results: InOrder[Future[Result]],
        workers: ThreadPoolExecutor,
        turnstile: Turnstile,
    ) -> None:
        """Start a delivery for each of *pictures*; runs in a thread of its own."""
        with suppress(Closed):
            try:
                for place, frame in enumerate(to_frames(pictures)):
                    turn = turnstile.turn(place)
                    results.put(workers.submit(self._deliver, frame, self._number(), turn))
            except Closed:
                raise
            except Exception as error:  # noqa: BLE001 - a thread's boundary: the caller of `stream` gets it
                broken: Future[Result] = Future()
                broken.set_exception(error)
                results.put(broken)
        results.end()

    def _deliver(self, frame: Frame, number: int, turn: AbstractContextManager[None] | None = None) -> Result:
        return self._delivery.deliver(frame, number, picture=self._picture, turn=turn)

    def _number(self) -> int:
        with self._lock:
            number, self._numbers = self._numbers, self._numbers + 1
            return number

    def _attach(self, session: int | str | None) -> Address:
        """Return the address of an existing session. Raises ClientError."""
        at_coordinator = re.fullmatch(r"(https?://[^/]+)?/?(?:sessions/)?(\d+)/?", str(session))
        if at_coordinator is None:
            url = str(session).rstrip("/")
            return Address(Urls(url, f"{url}/results"))
        if at_coordinator[1]:
            self.coordinator.url = at_coordinator[1]
        self.session = self.coordinator.session(int(at_coordinator[2]))
        return self._address(self.session)

    def _address(self, session: Session) -> Address:
        """Return where the session's frames go. Raises SessionGone when it takes none; what was made is deleted."""
        try:
            urls = usable(session)
        except ClientError:
            if self._created:
                with suppress(ClientError):
                    self.coordinator.delete(session.session_id)
            raise
        return Address(urls, self.coordinator, session.session_id)
