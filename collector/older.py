"""The older reporter's form, made into reports. Pure.

It nests GPU figures in each sample, calls two events `send` and `receive`, and carries no identity: the node is known
by its address, and rows that come twice are known by their keys. Members that it does not name are passed over.
"""

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from wire.messages import (
    BigCount,
    Count,
    GpuInfo,
    Id,
    PacketEvent,
    PacketInfo,
    Percent,
    ProcInfo,
    Report,
    SysInfo,
    Timestamp,
)

BOOT_ID = "older"  # such reports have no identity; see store.Store.add


class OlderGpu(Struct, frozen=True, kw_only=True):
    """GPU figures of a node's sample."""

    gpu_id: Id
    gpu_util: Count
    gpu_mem_util: Count
    gpu_clock: Count = 0
    gpu_power: Count = 0


class OlderSys(Struct, frozen=True, kw_only=True):
    """A node's sample."""

    timestamp: Timestamp
    cpu_util: Percent
    mem_total: Count
    mem_util: Percent
    gpu_info: list[OlderGpu] = []


class OlderProc(Struct, frozen=True, kw_only=True):
    """A handler's sample."""

    timestamp: Timestamp
    session_id: Id
    handler_id: Id
    cpu_util: Percent
    mem_util: Percent
    gpu_info: list[OlderGpu] = []


class OlderEvent(StrEnum):
    """Its names of events, and ours."""

    START, END, SEND, RECEIVE, SENT, RECV = "start", "end", "send", "receive", "sent", "recv"


class OlderPacket(Struct, frozen=True, kw_only=True):
    """What happened to a frame."""

    timestamp: Timestamp
    session_id: Id
    handler_id: Id
    sequence: BigCount
    event: OlderEvent
    size: Count | None = None


class OlderReport(Struct, frozen=True, kw_only=True):
    """POST / of a collector."""

    sys_info: list[OlderSys] = []
    proc_info: list[OlderProc] = []
    packet_info: list[OlderPacket] = []


_EVENTS = {"send": PacketEvent.SENT, "receive": PacketEvent.RECV}


def convert(older: OlderReport, node_id: int) -> Report:
    """Return *older* as a report of node *node_id*."""
    return Report(
        node_id=node_id,
        boot_id=BOOT_ID,
        report_id=0,
        sys_info=[_sys(s) for s in older.sys_info],
        proc_info=[_proc(p) for p in older.proc_info],
        packet_info=[_packet(p) for p in older.packet_info],
        gpu_info=[_gpu(s.timestamp, g) for s in older.sys_info for g in s.gpu_info],
    )


def _mean(values: Sequence[int]) -> int | None:
    return round(sum(values) / len(values)) if values else None


def _sys(sample: OlderSys) -> SysInfo:
    gpus = sample.gpu_info
    return SysInfo(
        timestamp=sample.timestamp,
        cpu_util=sample.cpu_util,
        mem_total=sample.mem_total,
        mem_util=sample.mem_util,
        gpu_util=_mean([g.gpu_util for g in gpus]),
        gpu_mem_util=_mean([g.gpu_mem_util for g in gpus]),
        gpu_clock=_mean([g.gpu_clock for g in gpus]),
        gpu_power=sum(g.gpu_power for g in gpus) if gpus else None,
    )


def _proc(sample: OlderProc) -> ProcInfo:
    return ProcInfo(
        timestamp=sample.timestamp,
        session_id=sample.session_id,
        handler_id=sample.handler_id,
        cpu_util=sample.cpu_util,
        mem_util=sample.mem_util,
        gpu_util=_mean([g.gpu_util for g in sample.gpu_info]),
        gpu_mem_util=_mean([g.gpu_mem_util for g in sample.gpu_info]),
    )


def _packet(event: OlderPacket) -> PacketInfo:
    return PacketInfo(
        timestamp=event.timestamp,
        session_id=event.session_id,
        handler_id=event.handler_id,
        sequence=event.sequence,
        event=_EVENTS.get(event.event) or PacketEvent(event.event),
        size=event.size,
    )


def _gpu(timestamp: float, gpu: OlderGpu) -> GpuInfo:
    return GpuInfo(
        timestamp=timestamp,
        gpu_id=gpu.gpu_id,
        gpu_util=gpu.gpu_util,
        gpu_mem_util=gpu.gpu_mem_util,
        gpu_clock=gpu.gpu_clock,
        gpu_power=gpu.gpu_power,
    )
