"""Care for frames in flight: sent again when what held them died or was replaced, given up when nothing helps."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Annotated, Protocol

from msgspec import Meta, Struct

from node.gateway.outcomes import Outcomes
from node.gateway.results import Heading, failure
from node.gateway.window import OpenFrame, Window
from wire.messages import BigCount, FrameStatus, Id, SessionPlan

RESEND_S, DROP_S = 15.0, 60.0  # without a result: send again, then give up
WORDS = 256  # that are remembered
MAX_BLAMES = 2  # a frame that a handler died with so often is set aside


class Lost(Struct):
    """The word that frames may be lost, of this node's agent or of another gateway (POST /sessions/<id>/lost)."""

    handler_id: Id
    blame: BigCount | None = None  # sequence of the frame that it died with
    gave_up: str | None = None  # why it will not come back
    why: str | None = None  # it died
    through: BigCount | None = None  # it lives, and what may be lost has this sequence at most
    epoch: BigCount | None = None  # of the newest plan that who says it knows
    word: Annotated[str, Meta(max_length=64)] | None = None  # the same where it is said again, since no answer came


class Dispatcher(Protocol):
    """The part of the entry that sends."""

    dispatching: threading.RLock  # frames leave in order under it
    plan: SessionPlan

    def dispatch(self, frame: OpenFrame) -> None: ...


class Care:
    """One entry's open frames."""

    def __init__(
        self, window: Window, outcomes: Outcomes, dispatcher: Dispatcher, heading: Callable[[OpenFrame], Heading]
    ) -> None:
        self._window = window
        self._outcomes = outcomes
        self._lock = outcomes.lock
        self._dispatcher = dispatcher
        self._heading = heading
        self._heard: deque[str] = deque(maxlen=WORDS)

    def resend_soon(self, frames: list[OpenFrame] | None = None) -> None:
        """Send again in a thread of its own: it may have to wait for nodes that learn of a plan after this one."""
        threading.Thread(target=self.resend, args=(frames,), name="resend", daemon=True).start()

    def resend(self, frames: list[OpenFrame] | None = None) -> None:
        """Send unanswered frames again, in order; all of them by default."""
        with self._dispatcher.dispatching:
            with self._lock:
                again = list(self._window.open.values()) if frames is None else frames
            for frame in sorted(again, key=lambda f: f.sequence):
                with self._lock:
                    if frame.sequence not in self._window.open:
                        continue
                    self._outcomes.books.resend()
                    frame.resent = time.monotonic()
                self._dispatcher.dispatch(frame)

    def hear(self, lost: Lost) -> None:
        """Do what the word asks for, once. Of an older plan than ours nobody can say that all is lost."""
        if lost.word is not None:
            with self._lock:
                if lost.word in self._heard:
                    return
                self._heard.append(lost.word)
        if lost.gave_up:
            if lost.epoch is None or lost.epoch >= self._dispatcher.plan.epoch:
                self.handler_gave_up(lost.handler_id, lost.gave_up)
        elif lost.through is not None:
            self.sent_astray(lost.through)
        else:
            self.handler_lost(lost.handler_id, lost.blame, lost.why)

    def handler_lost(self, handler_id: int, blame: int | None, why: str | None = None) -> None:
        """A handler died and is back: send again what it may have held; set aside a frame that kills, saying *why*."""
        with self._lock:
            frame = self._window.open.get(blame) if blame is not None else None
            if frame is not None:
                frame.blames += 1
                if frame.blames >= MAX_BLAMES:
                    times = f"handler {handler_id} died {frame.blames} times with this frame"
                    self.fail(frame, times if why is None else f"{times}: {why}")
        self.resend()

    def sent_astray(self, through: int) -> None:
        """Send frames up to a sequence again."""
        with self._lock:
            frames = [f for f in self._window.open.values() if f.sequence <= through]
        self.resend(frames)

    def handler_gave_up(self, handler_id: int, reason: str) -> None:
        """A handler is gone for good: nothing in flight can be answered until the session is placed anew."""
        with self._lock:
            for frame in list(self._window.open.values()):
                self.fail(frame, f"handler {handler_id}: {reason}")

    def look_after(self) -> None:
        """Send again or drop what is overdue; called each second."""
        now = time.monotonic()
        with self._lock:
            again, lost = self._window.overdue(now, RESEND_S, DROP_S)
            for frame in lost:
                self.drop(frame, "no_result")
            for frame in again:
                frame.resent = now
        if again:
            self.resend_soon(again)

    def fail(self, frame: OpenFrame, reason: str) -> None:
        """Answer an open frame with our own fault. The lock is held."""
        self._outcomes.finish(frame, failure(self._heading(frame), FrameStatus.FAILED, reason, broken=True))

    def drop(self, frame: OpenFrame, reason: str) -> None:
        """Give an open frame up. The lock is held."""
        self._outcomes.finish(frame, failure(self._heading(frame), FrameStatus.DROPPED, reason))

    def drop_all(self, reason: str) -> None:
        """Give all open frames up. The lock is held."""
        for frame in list(self._window.open.values()):
            self.drop(frame, reason)
