"""What passed a recorded door, as HTTP: which reports the collector acknowledged, by the bytes on the wire. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import httptools
import msgspec

Piece = tuple[int, bool, bytes]  # connection, whether towards the collector, bytes


class _Messages:
    """The bodies, and of answers the statuses, of one direction of a connection."""

    def __init__(self, *, answers: bool) -> None:
        self.bodies: list[bytes] = []
        self.statuses: list[int] = []
        self._body = b""
        self._parser: Any = httptools.HttpResponseParser(self) if answers else httptools.HttpRequestParser(self)
        self._answers = answers

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        self._body += data

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self.bodies.append(self._body)
        self._body = b""
        if self._answers:
            self.statuses.append(self._parser.get_status_code())


def acknowledged(tape: Iterable[Piece]) -> Iterator[dict[str, Any]]:
    """Yield each report whose answer 200 passed the door."""
    connections: dict[int, tuple[_Messages, _Messages]] = defaultdict(
        lambda: (_Messages(answers=False), _Messages(answers=True))
    )
    for number, inward, data in tape:
        connections[number][0 if inward else 1].feed(data)
    for asked, answered in connections.values():
        for body, status in zip(asked.bodies, answered.statuses, strict=False):  # the last may have no answer
            if status == 200:
                yield msgspec.json.decode(body)
