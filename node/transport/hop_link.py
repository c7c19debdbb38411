"""A sender's connection to one node: packets one at a time, or several under way (node.transport.pipeline decides)."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from node.reporting.recorder import Recorder
from node.transport.hop import HopClient
from node.transport.hop_answers import Answer, always
from node.transport.http11 import Disconnected
from node.transport.pipeline import Fate, Pipeline, fate_of
from wire.packet import Buffer

log = logging.getLogger(__name__)

DONE_HEADER = "x-done"  # of a 202 from a node with a replica: the sequence that the handler there finished last
FORBIDDEN = 403
MEASURE_S = 0.25  # how often a packet goes alone, so that its time is the link's

Attempt = Callable[[], bool | None]
Persist = Callable[[Attempt, Callable[[], bool], int], bool]  # attempt, still needed, epoch -> taken


def never() -> bool:
    """Return False: there is no better place."""
    return False


def ignore_done(last: int) -> None:
    """Take no notice of how far a handler is."""


def ignore_taken(at: float, size: int) -> None:
    """Take no notice of a packet that was sent."""


@dataclass(slots=True)
class Parcel:
    """A packet on its way to another node. Its pieces must not change before `taken` or another end."""

    path: str
    pieces: list[Buffer]
    size: int  # bytes
    epoch: int  # of the plan under which it was sent
    done: Callable[[int], None] = ignore_done  # a replica's word on how far it is
    taken: Callable[[float, int], None] = ignore_taken  # the other node has it: when it was sent (s), its bytes
    at: float = 0.0


class HopLink:
    """Used by one thread."""

    def __init__(
        self,
        hop: HopClient,
        node_id: int,
        recorder: Recorder,
        persist: Persist,
        away: Callable[[int], None],
        welcome: Callable[[int], bool],
    ) -> None:
        self._hop = hop
        self._node_id = node_id
        self._recorder = recorder
        self._persist = persist
        self._away = away  # is told of a node that takes no connection
        self._welcome = welcome  # whether packets of an epoch still are, by the newest plan
        self._pipeline: Pipeline[Parcel] = Pipeline()
        self._forbidden = False  # the last answer was that we may not send there: said once
        self._measured, self._seconds = float("-inf"), 0.0  # when (monotonic), and what a packet took to its 202

    def send(self, parcel: Parcel, needed: Callable[[], bool] = always) -> bool:
        """Send and wait until it is taken; False when it had to be let go."""
        self.settle()
        return self._insist(parcel, needed)

    def submit(self, parcel: Parcel) -> None:
        """Send; the answer is read later, in order. Waits while too much is under way, or is refused."""
        pipeline = self._pipeline
        if not len(pipeline) and time.monotonic() - self._measured > MEASURE_S:
            self._insist(parcel, always)
            return
        if not pipeline.has_room(parcel.size):
            self.collect()
            while not pipeline.has_room(parcel.size):
                self._next_answer(wait=True)
        if pipeline.stopped:
            self.settle()
        follows = len(pipeline) > 0
        try:
            self._hop.send(parcel.path, parcel.pieces, follows=follows)
        except Disconnected as error:
            log.debug("hop to node %s: %s", self._node_id, error)
            pipeline.sent(parcel, parcel.size)
            pipeline.cut()
            self.settle()
            return
        parcel.at = time.time()
        pipeline.sent(parcel, parcel.size)

    def collect(self) -> bool:
        """Read the answers that are there; returns whether more will come."""
        while len(self._pipeline) and self._next_answer(wait=False):
            pass
        if self._pipeline.stopped:
            self.settle()
        return len(self._pipeline) > 0

    def settle(self) -> None:
        """Wait for all answers, send again what must go again."""
        while len(self._pipeline):
            self._next_answer(wait=True)
        for parcel in self._pipeline.again():
            self._insist(parcel, always)

    @property
    def idle(self) -> bool:
        """Return True when nothing is under way."""
        return not len(self._pipeline) and not self._pipeline.stopped

    def close(self) -> None:
        """Close the connection."""
        self._hop.close()

    def _next_answer(self, *, wait: bool) -> bool:
        """Read one answer; returns whether there was one."""
        try:
            answer = self._hop.answer(wait=wait, matters=self._first_matters)
        except Disconnected as error:
            log.debug("hop to node %s: %s", self._node_id, error)
            self._pipeline.cut()
            return False
        if answer is None:
            return False
        parcel, fate = self._pipeline.answered(answer.status)
        self._note(parcel, answer, fate, self._seconds)
        if not answer.keep_alive:
            self._pipeline.cut()
        return True

    def _insist(self, parcel: Parcel, needed: Callable[[], bool]) -> bool:
        def matters() -> bool:
            return self._welcome(parcel.epoch) and needed()

        return self._persist(lambda: self._attempt(parcel, matters), needed, parcel.epoch)

    def _first_matters(self) -> bool:
        return self._welcome(self._pipeline.first.epoch)

    def _attempt(self, parcel: Parcel, matters: Callable[[], bool]) -> bool | None:
        """Return True when sent, None to try again, False when the other side will never take it."""
        start = time.monotonic()
        try:
            answer = self._hop.post(parcel.path, parcel.pieces, matters=matters)
        except Disconnected as error:
            log.debug("hop to node %s: %s", self._node_id, error)
            if matters():  # else we went, not the node
                self._away(self._node_id)
            return None
        fate = fate_of(answer.status)
        if fate is Fate.TAKEN:
            self._measured, parcel.at = time.monotonic(), time.time()
            self._seconds = self._measured - start
        self._note(parcel, answer, fate, self._seconds)
        return None if fate is Fate.AGAIN else fate is Fate.TAKEN

    def _note(self, parcel: Parcel, answer: Answer, fate: Fate, seconds: float) -> None:
        last = answer.headers.get(DONE_HEADER, "")
        if last.isascii() and last.isdigit():
            parcel.done(int(last))
        if fate is Fate.TAKEN:
            self._recorder.sent(self._node_id, parcel.size, seconds)
            parcel.taken(parcel.at, parcel.size)
        elif (fate is Fate.LOST and answer.status != 409) or (answer.status == FORBIDDEN and not self._forbidden):
            log.warning("node %s refused a packet for %s with %s", self._node_id, parcel.path, answer.status)
        self._forbidden = answer.status == FORBIDDEN
