"""What waits in memory to become reports, and what the collector's answers mean. No I/O."""

import threading
from collections.abc import Sequence
from enum import Enum
from typing import TypeVar

from wire.messages import GpuInfo, LinkInfo, PacketInfo, ProcInfo, Report, SysInfo

MAX_PACKETS = 50_000  # about a minute of a busy node; newer events are dropped and counted
MAX_SAMPLES = 10_000  # rows of each other table
REPORT_ROWS = 2_000  # packet rows per report: some 300 KB of JSON
LONGEST_PAUSE_S = 5.0

T = TypeVar("T")


class Verdict(Enum):
    """What to do with a report after an attempt to send it."""

    ARRIVED, KEEP, SET_ASIDE = "arrived", "keep", "set aside"


def verdict(status: int | None) -> Verdict:
    """Return what an HTTP status (None: no answer) means for the report.

    Only an answer about the report itself sets it aside; a wrong token or a stranger on the collector's port does
    not, since both can be mended.
    """
    if status is not None and 200 <= status < 300:
        return Verdict.ARRIVED
    return Verdict.SET_ASIDE if status in (400, 413, 415, 422) else Verdict.KEEP


def pause(failures: int) -> float:
    """Return the seconds to wait after so many failed attempts in a row."""
    if failures <= 0:
        return 0.0
    doubled = 0.25 * (1 << min(failures, 10))
    return min(LONGEST_PAUSE_S, doubled)


class Outbox:
    """Rows on their way into reports: bounded, thread-safe, and never waited for by those who add."""

    def __init__(self, node_id: int, boot_id: str) -> None:
        self._node_id, self._boot_id = node_id, boot_id
        self._lock = threading.Lock()
        self._packets: list[PacketInfo] = []
        self._sys: list[SysInfo] = []
        self._proc: list[ProcInfo] = []
        self._links: list[LinkInfo] = []
        self._gpu: list[GpuInfo] = []
        self._next_id = 0
        self.dropped = 0  # rows for which there was no room

    def add_packets(self, packets: Sequence[PacketInfo]) -> None:
        with self._lock:
            self._add(self._packets, packets, MAX_PACKETS)

    def add_samples(
        self, sys: SysInfo, proc: Sequence[ProcInfo], gpu: Sequence[GpuInfo], links: Sequence[LinkInfo]
    ) -> None:
        with self._lock:
            self._add(self._sys, [sys], MAX_SAMPLES)
            self._add(self._proc, proc, MAX_SAMPLES)
            self._add(self._gpu, gpu, MAX_SAMPLES)
            self._add(self._links, links, MAX_SAMPLES)

    def _add(self, rows: list[T], more: Sequence[T], limit: int) -> None:
        room = limit - len(rows)
        rows.extend(more[:room])
        self.dropped += max(0, len(more) - room)

    def take(self) -> list[Report]:
        """Return all that waits as reports with rising ids; none when nothing waits."""
        with self._lock:
            taken = self._packets, self._sys, self._proc, self._links, self._gpu
            self._packets, self._sys, self._proc, self._links, self._gpu = [], [], [], [], []
        packets, sys, proc, links, gpu = taken
        if not any(taken):
            return []
        first = self._report(packets[:REPORT_ROWS], sys, proc, links, gpu)
        return [first] + [
            self._report(packets[i : i + REPORT_ROWS]) for i in range(REPORT_ROWS, len(packets), REPORT_ROWS)
        ]

    def _report(
        self,
        packets: list[PacketInfo],
        sys: Sequence[SysInfo] = (),
        proc: Sequence[ProcInfo] = (),
        links: Sequence[LinkInfo] = (),
        gpu: Sequence[GpuInfo] = (),
    ) -> Report:
        self._next_id += 1
        return Report(
            node_id=self._node_id,
            boot_id=self._boot_id,
            report_id=self._next_id,
            sys_info=list(sys),
            proc_info=list(proc),
            packet_info=packets,
            link_info=list(links),
            gpu_info=list(gpu),
        )
