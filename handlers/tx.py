"""Tx: posts what it gets to another session URL or a webhook, in order, from a thread of its own.

execute ──▶ queue of `queue_size` bodies ──sender thread, in order──▶ POST url
   waits `patience_s` for room, then drops this one and counts it      retries with growing delays, then drops
"""

import json
import logging
import queue
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import requests

from handlers.base import Handler, Params, Range
from handlers.codec import to_part
from handlers.encode import encode_jpeg
from handlers.hosts import check_host
from handlers.types import Box, Boxes, Encoded
from wire import auth, packet
from wire.packet import Header, Kind

TIMEOUT_S = (5.0, 30.0)  # to connect; for the answer
FIRST_DELAY_S = 0.2  # before the first retry; doubles
RETRY_STATUSES = {409, 429, 500, 502, 503, 504}  # 409: the session there does not run yet
JPEG_QUALITY = 95

logger = logging.getLogger(__name__)


class TxParams(Params, frozen=True):
    """Parameters of handler type 0."""

    url: str = ""  # http:// or https://; must be given
    protocol: Literal["http"] = "http"
    lossless: bool = False  # pixels and boxes as packets, exactly as they are: for session URLs
    queue_size: Annotated[int, Range(1, 1024)] = 64  # bodies that wait to be sent
    patience_s: Annotated[float, Range(0.0, 5.0)] = 2.0  # s that a frame waits for room in the queue
    retries: Annotated[int, Range(0, 10)] = 4  # attempts after the first


@dataclass(frozen=True, slots=True)
class Body:
    """What is posted."""

    data: bytes
    media_type: str
    sequence: int  # this sender's own numbers, from 0


def to_body(value: Any, sequence: int, lossless: bool) -> Body:
    """Return *value* as a body: Encoded as it is, an Image as JPEG of quality 95, Boxes as JSON {"boxes": [...]}.

    With *lossless* an Image and Boxes are packets (wire.packet), which sessions take and nothing else does.
    """
    if isinstance(value, Encoded):
        return Body(bytes(value.data), value.media_type, sequence)
    if lossless:
        return _packet(value, sequence)
    if isinstance(value, Boxes):
        return Body(json.dumps({"boxes": [_plain(b) for b in value]}).encode(), "application/json", sequence)
    encoded = encode_jpeg(value, JPEG_QUALITY)
    return Body(bytes(encoded.data), encoded.media_type, sequence)


def _packet(value: Any, sequence: int) -> Body:
    """Return *value* in a packet whose header says nothing but what is in it: the session that takes it has its own."""
    part, buffers = to_part(value)
    header = Header(
        session_id=0, epoch=0, sequence=sequence, timestamp=time.time(), origin=0, payload=part, kind=Kind.FRAME
    )
    return Body(b"".join(packet.encode(header, buffers)), packet.MEDIA_TYPE, sequence)


def _plain(box: Box) -> dict[str, Any]:
    """Return *box* without its arrays; members that are None are left out."""
    names = ("label", "score", "x", "y", "w", "h", "distance", "track_id")
    return {n: getattr(box, n) for n in names if getattr(box, n) is not None}


class TxHandler(Handler[TxParams]):
    """any -> nothing. Posts in order; redirects are not followed, proxies of the environment not used."""

    params_type = TxParams
    inputs, outputs = (object,), ()

    def prepare(self) -> None:
        """Start the sender. Raises Unavailable for a URL that is missing, not http(s), or not allowed here."""
        check_url(self.params.url, self.context.allowed_hosts)
        self.sent = 0
        self.dropped = 0
        self._sequence = 0
        self._client = f"tx-{self.context.session_id}-{self.context.handler_id}-{uuid.uuid4().hex[:8]}"
        self._bodies: queue.Queue[Body | None] = queue.Queue(self.params.queue_size)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tx", daemon=True)
        self._thread.start()

    def execute(self, value: Any) -> None:
        """Queue *value* to be posted; when the queue stays full for `patience_s` it is dropped and counted."""
        body = to_body(value, self._sequence, self.params.lossless)
        self._sequence += 1
        try:
            self._bodies.put(body, timeout=self.params.patience_s)
        except queue.Full:
            self._drop("the queue is full")

    def finish(self) -> None:
        """Give the bodies in the queue 5 s to be sent, then stop."""
        try:
            self._bodies.put(None, timeout=1.0)
            self._thread.join(5.0)
        except queue.Full:
            logger.warning("tx to %s: the receiver is too slow", urlsplit(self.params.url).hostname)
        self._stopped.set()
        self._thread.join(1.0)
        self.dropped += sum(1 for body in list(self._bodies.queue) if body is not None)

    def _drop(self, reason: str) -> None:
        self.dropped += 1
        if self.dropped.bit_count() == 1:  # the 1st, 2nd, 4th, 8th ...
            logger.warning("tx to %s: %d dropped: %s", urlsplit(self.params.url).hostname, self.dropped, reason)

    def _run(self) -> None:
        try:
            with requests.Session() as session:
                session.trust_env = False
                while not self._stopped.is_set() and (body := self._bodies.get()) is not None:
                    self._send(session, body)
        except Exception:  # the boundary of a thread
            logger.exception("tx sender ended")

    def _send(self, session: requests.Session, body: Body) -> None:
        """Post *body*, again after errors that may pass; in the end it is sent, or dropped and counted."""
        delay, reason = FIRST_DELAY_S, ""
        for attempt in range(self.params.retries + 1):
            if attempt and self._stopped.wait(delay):
                break
            delay = delay * 2 if attempt else delay
            reason = self._post(session, body)
            if reason == "":
                self.sent += 1
                return
            if reason.startswith("refused"):
                break
        self._drop(reason)

    def _post(self, session: requests.Session, body: Body) -> str:
        """Return "" when it was taken, else why not ("refused ..." when another attempt would not help)."""
        url, target = self.params.url, self.context.tx_target(self.params.url)
        headers = auth.header(target.token if target else None) | {
            "Content-Type": body.media_type,
            "Prefer": "respond-async",
            "X-Client": self._client,
            "X-Sequence": str(body.sequence),
        }
        trusted = target.ca if target and target.ca else True
        try:
            response = session.post(
                url, data=body.data, headers=headers, timeout=TIMEOUT_S, allow_redirects=False, verify=trusted
            )
        except requests.RequestException as error:
            return f"no answer ({type(error).__name__})"
        if response.ok and not response.is_redirect:
            return ""
        return f"{'status' if response.status_code in RETRY_STATUSES else 'refused with status'} {response.status_code}"


def check_url(url: str, allowed_hosts: frozenset[str] | None) -> None:
    """Raise Unavailable unless *url* is http(s) and to one of *allowed_hosts*."""
    check_host(url, ("http", "https"), allowed_hosts, "tx")
