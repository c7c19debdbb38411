"""What happened in this process, gathered without locks on the frame path and handed over in batches."""

import time
from collections import defaultdict

from node.processes.control import LinkStats, Telemetry
from node.reporting.tally import SEND_S, SERVICE_S, Tally
from wire.messages import PacketEvent, PacketInfo

MAX_EVENTS = 20_000  # per period; more are counted, not kept


class Recorder:
    """Events of one process. `take` swaps the lists, so that the frame path only ever appends."""

    def __init__(self, sample: float) -> None:
        self._threshold = int(sample * 2**32)
        self._packets: list[PacketInfo] = []
        self._lost = 0
        self._links: dict[int, _Link] = defaultdict(_Link)
        self._unreachable: set[int] = set()
        self._frames = 0
        self._service = Tally(SERVICE_S)
        self.queue_size = 0

    def event(
        self, session_id: int, handler_id: int, sequence: int, event: PacketEvent, at: float, size: int | None = None
    ) -> None:
        """Note an event of a frame; frames are sampled by sequence, so that all nodes keep the same ones."""
        if (sequence * 2654435761) & 0xFFFFFFFF >= self._threshold:  # Knuth's multiplicative hash
            return
        if len(self._packets) >= MAX_EVENTS:
            self._lost += 1
            return
        self._packets.append(
            PacketInfo(
                timestamp=at, session_id=session_id, handler_id=handler_id, sequence=sequence, event=event, size=size
            )
        )

    def served(self, start: float, end: float) -> None:
        """Note an executed frame; s by any one clock."""
        self._frames += 1
        self._service.add(end - start)

    def sent(self, node_id: int, size: int, seconds: float) -> None:
        """Note a packet sent to another node."""
        link = self._links[node_id]
        link.frames += 1
        link.bytes += size
        link.tally.add(seconds)

    def unreachable(self, node_id: int) -> None:
        """Note that a node took no connection."""
        self._unreachable.add(node_id)

    def take(self) -> Telemetry | None:
        """Return what has come since the last call, or None."""
        packets, self._packets = self._packets, []
        links, self._links = self._links, defaultdict(_Link)
        frames, self._frames = self._frames, 0
        tally, self._service = self._service, Tally(SERVICE_S)  # read after the swap: what comes meanwhile is in it
        lost, self._lost = self._lost, 0
        unreachable, self._unreachable = self._unreachable, set()
        if not (packets or links or frames or lost or unreachable):
            return None
        service = tally.read()
        return Telemetry(
            packets=packets,
            packets_lost=lost,
            links=[link.stats(node_id) for node_id, link in list(links.items())],
            unreachable=sorted(unreachable),
            frames=frames,
            service_ms=service.total_s * 1000,
            service=service,
            queue_size=self.queue_size,
        )


class _Link:
    """What went to one node."""

    __slots__ = ("bytes", "frames", "tally")

    def __init__(self) -> None:
        self.frames = self.bytes = 0
        self.tally = Tally(SEND_S)

    def stats(self, node_id: int) -> LinkStats:
        seconds = self.tally.read()
        return LinkStats(node_id, self.frames, self.bytes, seconds.total_s * 1000, seconds)


now = time.time  # events carry wall-clock time; durations are taken with time.monotonic
