"""What happened in this process, gathered without locks on the frame path and handed over in batches."""

import time
from collections import defaultdict

from node.control import LinkStats, Telemetry
from wire.messages import PacketEvent, PacketInfo

MAX_EVENTS = 20_000  # per period; more are counted, not kept


class Recorder:
    """Events of one process. `take` swaps the lists, so that the frame path only ever appends."""

    def __init__(self, sample: float) -> None:
        self._threshold = int(sample * 2**32)
        self._packets: list[PacketInfo] = []
        self._lost = 0
        self._links: dict[int, list[float]] = defaultdict(lambda: [0, 0, 0.0])
        self._unreachable: set[int] = set()
        self._frames = 0
        self._service_ms = 0.0
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
        self._service_ms += (end - start) * 1000

    def sent(self, node_id: int, size: int, seconds: float) -> None:
        """Note a packet sent to another node."""
        link = self._links[node_id]
        link[0] += 1
        link[1] += size
        link[2] += seconds * 1000

    def unreachable(self, node_id: int) -> None:
        """Note that a node took no connection."""
        self._unreachable.add(node_id)

    def take(self) -> Telemetry | None:
        """Return what has come since the last call, or None."""
        packets, self._packets = self._packets, []
        links, self._links = self._links, defaultdict(lambda: [0, 0, 0.0])
        frames, self._frames = self._frames, 0
        service, self._service_ms = self._service_ms, 0.0
        lost, self._lost = self._lost, 0
        unreachable, self._unreachable = self._unreachable, set()
        if not (packets or links or frames or lost or unreachable):
            return None
        return Telemetry(
            packets=packets,
            packets_lost=lost,
            links=[LinkStats(n, int(f), int(b), ms) for n, (f, b, ms) in list(links.items())],
            unreachable=sorted(unreachable),
            frames=frames,
            service_ms=service,
            queue_size=self.queue_size,
        )


now = time.time  # events carry wall-clock time; durations are taken with time.monotonic
