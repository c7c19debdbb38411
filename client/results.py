"""A frame's result as a client sees it."""

from typing import Any

import msgspec
from msgspec import Struct

from wire.messages import FrameStatus


class Found(Struct, frozen=True, kw_only=True):
    """One found thing; x, y, w, h in pixels of the frame; distance to the nearest known face (lower is nearer)."""

    label: str
    score: float
    x: int
    y: int
    w: int
    h: int
    distance: float | None = None


class Step(Struct, frozen=True, kw_only=True):
    """A handler's work on the frame; times in s since the epoch, by that node's clock."""

    handler_id: int
    node_id: int
    start: float
    end: float
    received: float | None = None

    @property
    def busy_ms(self) -> float:
        return (self.end - self.start) * 1000


class Result(Struct, frozen=True, kw_only=True):
    """What became of one frame.

    number: the client's own, from 0. sequence: the entry's; None when it never took the frame.
    picture: the drawn picture (JPEG), when it was asked for. document: the answer as it came.
    """

    status: FrameStatus
    session_id: int = 0
    sequence: int | None = None
    epoch: int = 0
    timestamp: float = 0.0
    reason: str | None = None
    ended_by: int | None = None
    boxes: list[Found] = []
    image: dict[str, Any] | None = None
    trace: list[Step] = []
    latency_ms: float | None = None
    number: int = 0
    name: str = ""
    picture: bytes | None = None
    document: dict[str, Any] = {}

    @property
    def ok(self) -> bool:
        return self.status is FrameStatus.OK

    def to_json(self) -> dict[str, Any]:
        """Return the API's document with the frame's name; for a frame that was never taken, what is known."""
        known = self.document or {"status": str(self.status), "reason": self.reason, "boxes": []}
        return {"source": self.name, **known}


def is_result(document: object) -> bool:
    """Return True when a JSON answer is a result, not a problem (whose `status` is a number)."""
    return isinstance(document, dict) and document.get("status") in set(FrameStatus)


def read(document: dict[str, Any], number: int, name: str, picture: bytes | None = None) -> Result:
    """Return *document* as a Result. Members that this client does not know stay in `document`."""
    result = msgspec.convert(document, Result)
    return msgspec.structs.replace(result, number=number, name=name, picture=picture, document=document)


def rejected(reason: str, number: int, name: str) -> Result:
    """Return the result of a frame that the entry would not take."""
    return Result(status=FrameStatus.FAILED, reason=reason, number=number, name=name)
