"""Bring one frame to the session and its result back, whatever happens on the way."""

import threading
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from math import ceil
from urllib.parse import urljoin

from client.address import ASK_PERIOD_S, Address, Urls
from client.connection import Connections, Cut
from client.errors import GaveUp, Refused, SessionGone
from client.frames import Frame
from client.results import Result, read, rejected
from client.retry import Answer, Meaning, delay_s, judge
from wire.credential import Credential
from wire.messages import FrameStatus

CONFLICT_PATIENCE_S = 5.0  # a session that changes its state is done by then


@dataclass(frozen=True, slots=True)
class Wishes:
    """What all deliveries of a client share."""

    client_id: str
    credential: Credential = field(default_factory=Credential)
    wait_s: float = 30.0  # how long the entry may keep an answer waiting
    patience_s: float = 60.0  # how long a frame may take with all repeats


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an attempt brought no result; the frame may be sent again."""

    reason: str
    retry_after: str | None = None


class Delivery:
    """Delivers frames over kept connections; safe for threads."""

    def __init__(self, address: Address, wishes: Wishes) -> None:
        self._address = address
        self._wishes = wishes
        self._connections = Connections(wishes.wait_s + 5, wishes.credential)
        self._closed = threading.Event()

    def deliver(
        self, frame: Frame, number: int, *, picture: bool, turn: AbstractContextManager[None] | None = None
    ) -> Result:
        """Return the result of *frame*, the client's number *number*; each number once, in any thread.

        The first send happens inside *turn*, which puts sends of several threads in order; repeats do not wait.
        Raises GaveUp, Refused, SessionGone.
        """
        deadline = time.monotonic() + self._wishes.patience_s
        for attempt in count():
            urls = self._address.urls
            outcome = self._attempt(frame, number, deadline, picture=picture, turn=turn if attempt == 0 else None)
            if isinstance(outcome, Result):
                return outcome
            wait = delay_s(attempt, outcome.retry_after)
            if time.monotonic() + wait > deadline:
                raise GaveUp(self._sorry(frame, outcome.reason))
            if self._pause(wait, urls):
                break
        raise GaveUp("the client was closed")

    def _pause(self, wait_s: float, urls: Urls) -> bool:
        """Wait, but no longer than until the session is found to be somewhere else; True when the client was closed.

        Raises SessionGone.
        """
        until = time.monotonic() + wait_s
        while (left := until - time.monotonic()) > 0 and self._address.urls == urls:
            if self._closed.wait(min(left, ASK_PERIOD_S)):
                return True
            if left > ASK_PERIOD_S:
                self._address.renew(urls)
        return self._closed.is_set()

    def close(self) -> None:
        """End deliveries under way: they raise GaveUp."""
        self._closed.set()
        self._connections.close()

    def _attempt(
        self, frame: Frame, number: int, deadline: float, *, picture: bool, turn: AbstractContextManager[None] | None
    ) -> Result | Trouble:
        """Send *frame* once. Raises Refused, SessionGone."""
        urls, began = self._address.urls, deadline - self._wishes.patience_s
        try:
            answer = self._send(frame, number, urls, picture=picture, turn=turn)
            if judge(answer) is Meaning.LATER:
                answer = self._later(answer, urls, deadline)
        except Cut as cut:
            self._address.renew(urls)
            return Trouble(str(cut))
        meaning = judge(answer)
        if meaning is Meaning.ASK:
            self._look_again(urls, answer)
            if answer.status == 409 and time.monotonic() - began > CONFLICT_PATIENCE_S:
                raise SessionGone(f"the session does not take this frame: {answer.told()}")
        if meaning in (Meaning.AGAIN, Meaning.ASK, Meaning.LATER):
            return Trouble(answer.told(), answer.headers.get("retry-after"))
        return self._finish(answer, meaning, frame, number, urls)

    def _send(
        self, frame: Frame, number: int, urls: Urls, *, picture: bool, turn: AbstractContextManager[None] | None
    ) -> Answer:
        headers = {
            "Content-Type": frame.media_type,
            "Accept": "image/jpeg" if picture else "application/json",
            "X-Client": self._wishes.client_id,
            "X-Sequence": str(number),
            "Prefer": f"wait={self._wishes.wait_s:g}",
            **self._wishes.credential.header(),
        }
        with turn or nullcontext():
            connection = self._connections.to(urls.frames)
            connection.send("POST", urls.frames, frame.data, headers)
        return connection.receive()

    def _get(self, url: str, wait_s: float = 0) -> Answer:
        connection = self._connections.to(url)
        headers = {"Accept": "application/json", "Prefer": f"wait={ceil(wait_s)}", **self._wishes.credential.header()}
        connection.send("GET", url, None, headers)
        return connection.receive()

    def _later(self, answer: Answer, urls: Urls, deadline: float) -> Answer:
        """Return the result that an accepted frame gets at its Location, or the last answer before *deadline*."""
        where = urljoin(urls.frames, answer.headers.get("location", ""))
        for attempt in count():
            left = deadline - time.monotonic()
            if judge(answer) is not Meaning.LATER or left <= 0:
                break
            answer = self._get(where, wait_s=min(left, self._wishes.wait_s))
            if judge(answer) is Meaning.LATER and self._closed.wait(delay_s(attempt)):
                break
        return answer

    def _look_again(self, urls: Urls, answer: Answer) -> None:
        """Ask the coordinator where the session is. Raises SessionGone."""
        if not self._address.can_ask:
            raise SessionGone(f"{urls.frames} says: {answer.told()}: create another session")
        self._address.renew(urls)

    def _finish(self, answer: Answer, meaning: Meaning, frame: Frame, number: int, urls: Urls) -> Result:
        """Return the result in a last answer. Raises Refused."""
        if meaning is Meaning.PICTURE:
            return self._with_picture(answer, frame, number, urls)
        if meaning is Meaning.RESULT:
            return read(answer.document(), number, frame.name)
        if meaning is Meaning.REFUSED:
            raise Refused(answer.status, answer.document(), f"frame {frame.name or number}")
        return rejected(answer.told(), number, frame.name)

    def _with_picture(self, answer: Answer, frame: Frame, number: int, urls: Urls) -> Result:
        """Return the kept result of the frame whose picture came; without one, what the headers tell."""
        sequence = answer.headers.get("x-frame-sequence", "")
        try:
            kept = self._get(f"{urls.results}/{sequence}") if sequence.isdigit() else None
        except Cut:
            kept = None
        if kept is not None and judge(kept) is Meaning.RESULT:
            return read(kept.document(), number, frame.name, picture=answer.body)
        known = int(sequence) if sequence.isdigit() else None
        return Result(status=FrameStatus.OK, sequence=known, number=number, name=frame.name, picture=answer.body)

    def _sorry(self, frame: Frame, trouble: str) -> str:
        patience = f"{self._wishes.patience_s:g} s"
        return (
            f"no result for {frame.name or 'a frame'} within {patience} (last: {trouble}): "
            "`python3 -m client nodes` and `sessions` show who is up"
        )
