"""Frames that a handler of this node makes (a camera, a file) come in like those of a client.

source ── offer ─▶ results thread ─▶ one thread per source: admit, open, credit ─▶ source makes the next

A source that gets no credit offers the same frame again; which one that is, its own number and time tell.
"""

import logging
import queue
import threading

from node.gateway.entry import Dropped, Ended, Entry
from node.gateway.sessions import Held, Sessions
from node.transport.forward import put
from wire import packet
from wire.packet import Header, Kind, Packet

log = logging.getLogger(__name__)

Offer = tuple[Kind, Header, list[bytes]]
Name = tuple[int, float]  # the source's own number and time of an offer


class Sources:
    """One queue and one thread per session whose entry is a source; a source has one offer out at a time."""

    def __init__(self, sessions: Sessions, closing: threading.Event) -> None:
        self._sessions = sessions
        self._closing = closing
        self._queues: dict[int, queue.Queue[Offer]] = {}
        self._latest: dict[int, Name] = {}  # of each session: the offer that was queued last
        self._taken: dict[int, Name] = {}  # and the one that was taken last

    def take(self, held: Held, arrived: Packet) -> None:
        """Queue an offer; its bytes are copied out of shared memory, since the frame may have to be sent again.

        One that waits is not queued twice; of one that was taken the credit is given again.
        """
        name = name_of(arrived.header)
        if self._taken.get(held.session_id) == name:
            self._credit(held, arrived.header)
        elif self._latest.get(held.session_id) != name:
            self._queue(held, arrived, name)

    def _queue(self, held: Held, arrived: Packet, name: Name) -> None:
        offers = self._queues.get(held.session_id)
        if offers is None:
            offers = self._queues[held.session_id] = queue.Queue(maxsize=4)
            threading.Thread(target=self._serve, args=(held.session_id, offers), name="source", daemon=True).start()
        try:
            offers.put_nowait((arrived.header.kind, arrived.header, [bytes(b) for b in arrived.buffers]))
            self._latest[held.session_id] = name
        except queue.Full:
            log.warning("session %s: its source offers more than it may", held.session_id)

    def _serve(self, session_id: int, offers: "queue.Queue[Offer]") -> None:
        while not self._closing.is_set():
            held = self._sessions.get(session_id)
            if held is None or held.entry is None:
                break
            try:
                kind, header, buffers = offers.get(timeout=1.0)
            except queue.Empty:
                continue
            try:
                self._admit(held, held.entry, kind, header, buffers)
            except Ended:
                break
            except Exception:
                log.exception("source of session %s", session_id)
                self._latest.pop(session_id, None)  # so that it may be offered again
        self._queues.pop(session_id, None)
        self._latest.pop(session_id, None)
        self._taken.pop(session_id, None)

    def _admit(self, held: Held, entry: Entry, kind: Kind, header: Header, buffers: list[bytes]) -> None:
        if kind is Kind.SOURCE_END:
            entry.outcomes.end_source()
        elif header.payload is not None:
            self._open(entry, header, buffers)
        self._taken[held.session_id] = name_of(header)
        self._credit(held, header)

    def _open(self, entry: Entry, header: Header, buffers: list[bytes]) -> None:
        while not self._closing.is_set():
            try:
                ticket = entry.admit(0.0 if entry.live else 1.0)
            except Dropped:
                return
            if ticket is not None and header.payload is not None:
                entry.open(ticket, (header.payload, buffers), (), None, header.trace)
                return
            if entry.live:
                entry.drop_newest()
                return

    def _credit(self, held: Held, header: Header) -> None:
        credit = Header(
            kind=Kind.CREDIT,
            session_id=held.session_id,
            epoch=held.plan.epoch,
            sequence=header.sequence,
            timestamp=header.timestamp,
            origin=held.plan.entry.node_id,
            handler_id=header.handler_id,
        )
        put(held.outlet(header.handler_id), packet.encode(credit))


def name_of(offer: Header) -> Name:
    """Return how its source calls *offer*."""
    return offer.sequence, offer.timestamp
