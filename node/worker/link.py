"""What ties a handler to its node."""

from collections.abc import Callable
from dataclasses import dataclass

from node.processes.control import ChildSettings
from node.processes.progress import ProgressFile
from node.reporting.recorder import Recorder
from node.transport.channel import Inbox
from node.transport.forward import Forwarder
from node.transport.routing import Routing
from wire.messages import PacketEvent


@dataclass(frozen=True)
class Link:
    """A handler's ends of everything: its inbox, its sender, its accounts."""

    session_id: int
    handler_id: int
    settings: ChildSettings
    routing: Callable[[], Routing]
    sender: Forwarder
    recorder: Recorder
    progress: ProgressFile
    inbox: Inbox
    astray: Callable[[int, int], None]  # says what may be nowhere: from which epoch on, up to which sequence

    def note(self, sequence: int, event: PacketEvent, at: float, size: int | None = None) -> None:
        """Record an event of a frame."""
        self.recorder.event(self.session_id, self.handler_id, sequence, event, at, size)
