"""What an answer to a frame means for the client. Pure.

A frame may be sent again at any time: the entry knows it by X-Client and X-Sequence and handles it once.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import msgspec

from client.results import is_result

FIRST_DELAY_S = 0.05
LONGEST_DELAY_S = 0.5  # a session is somewhere else within seconds; its client shall not be the last to know
REFUSED_FOR_ALL = frozenset({401, 403, 405, 406})  # the next frame would fare the same
ASK_AGAIN = frozenset({404, 409, 410})  # the session is not (or no longer) there: the coordinator knows where


class Meaning(Enum):
    """What to do now."""

    RESULT = auto()  # the body is the frame's result
    PICTURE = auto()  # the body is the drawn picture; the result is kept under its sequence
    LATER = auto()  # accepted; the result will be at `Location`
    AGAIN = auto()  # send the same frame again, after a delay
    ASK = auto()  # ask the coordinator where the session is, then send again
    REJECTED = auto()  # this frame cannot be taken; the next one may
    REFUSED = auto()  # no frame will be taken


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def document(self) -> dict[str, Any]:
        """Return the JSON object in the body; empty when there is none."""
        try:
            found = msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            return {}
        return found if isinstance(found, dict) else {}

    def told(self) -> str:
        """Return what a problem says, in one line."""
        problem = self.document()
        return str(problem.get("detail") or problem.get("title") or f"HTTP {self.status}")


def judge(answer: Answer) -> Meaning:
    """Return what *answer* means."""
    if answer.status == 200 and answer.media_type.startswith("image/"):
        return Meaning.PICTURE
    if is_result(answer.document()):
        return Meaning.RESULT  # whatever its status: 422, 500 and 503 carry results too
    if answer.status == 202:
        return Meaning.LATER
    if answer.status in ASK_AGAIN:
        return Meaning.ASK
    if answer.status in REFUSED_FOR_ALL:
        return Meaning.REFUSED
    if answer.status in (408, 429) or answer.status >= 500:
        return Meaning.AGAIN
    return Meaning.REJECTED


def delay_s(attempt: int, retry_after: str | None = None) -> float:
    """Return how long to wait before attempt number *attempt* + 1, in s.

    The daemon's Retry-After (seconds) counts when there is one; else it doubles from FIRST_DELAY_S.
    """
    if retry_after is not None:
        try:
            return max(0.0, min(float(retry_after), 30.0))
        except ValueError:  # an HTTP date: nobody here sends one
            pass
    return float(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(attempt, 10)))
