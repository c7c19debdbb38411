"""What the node and its handlers' processes use: cumulative counters in, rates of a period out.

One psutil.Process is kept per process, so that its CPU use is that between two samples. The functions are pure; the
classes keep the reading before.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import psutil

from node.processes.control import LinkStats
from node.reporting.gpu import Gpus
from wire.messages import GpuInfo, GpuLoad, Hardware, LinkInfo, Load, ProcInfo, SysInfo

MIB = 1 << 20
MIN_PERIOD_S = 0.1  # the kernel counts in 10 ms: shorter periods say nothing


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """What the agent knows of a handler's process; frames and service_ms_sum are those since its last sample."""

    session_id: int
    handler_id: int
    pid: int | None  # None: it has ended
    queue_size: int
    frames: int
    service_ms_sum: float


@dataclass(frozen=True, slots=True)
class Usage:
    """A process's counters at a time."""

    at: float  # s since the epoch
    cpu_s: float  # user + system since the process's start


def cpu_percent(before: Usage, now: Usage) -> float:
    """Return % of one core between two readings."""
    period = now.at - before.at
    return round(100 * max(0.0, now.cpu_s - before.cpu_s) / period, 2) if period > 0 else 0.0


def by_handler(samples: Iterable[ProcessSample]) -> list[ProcessSample]:
    """Return one sample per handler: the living process's, with the work of those that ended before it."""
    found: dict[tuple[int, int], ProcessSample] = {}
    for sample in samples:
        key = sample.session_id, sample.handler_id
        found[key] = _together(found[key], sample) if key in found else sample
    return list(found.values())


def _together(one: ProcessSample, other: ProcessSample) -> ProcessSample:
    lives = one if one.pid is not None else other
    return replace(lives, frames=one.frames + other.frames, service_ms_sum=one.service_ms_sum + other.service_ms_sum)


def gpu_means(gpus: Sequence[GpuInfo]) -> dict[str, int | None]:
    """Return the GPU columns of sys_info: means over GPUs, power as sum; None without a GPU."""
    if not gpus:
        return dict.fromkeys(("gpu_util", "gpu_mem_util", "gpu_clock", "gpu_power"))
    number = len(gpus)
    return {
        "gpu_util": round(sum(g.gpu_util for g in gpus) / number),
        "gpu_mem_util": round(sum(g.gpu_mem_util for g in gpus) / number),
        "gpu_clock": round(sum(g.gpu_clock for g in gpus) / number),
        "gpu_power": sum(g.gpu_power for g in gpus),
    }


def link_rows(stats: Iterable[LinkStats], timestamp: float) -> list[LinkInfo]:
    """Return one row per target node that got frames."""
    sums: dict[int, tuple[int, int, float]] = {}
    for s in stats:
        frames, size, ms = sums.get(s.target_node_id, (0, 0, 0.0))
        sums[s.target_node_id] = (frames + s.frames, size + s.bytes, ms + s.send_ms)
    return [
        LinkInfo(timestamp=timestamp, target_node_id=target, frames=frames, bytes=size, send_ms=ms / frames)
        for target, (frames, size, ms) in sorted(sums.items())
        if frames
    ]


class CpuMeter:
    """CPU use of the whole machine between two calls."""

    def __init__(self) -> None:
        self._before = _machine()
        self._last = 0.0

    def percent(self) -> float:
        """Return % (0-100) since the last call; calls in quick succession get the last answer."""
        total, busy = _machine()
        period = total - self._before[0]
        if period >= MIN_PERIOD_S:
            self._last = round(100 * max(0.0, busy - self._before[1]) / period, 2)
            self._before = (total, busy)
        return self._last


def _machine() -> tuple[float, float]:
    """Return (all, busy) CPU seconds of the machine since its start, over all cores."""
    t = psutil.cpu_times()
    guest = getattr(t, "guest", 0.0) + getattr(t, "guest_nice", 0.0)  # Linux counts these in user and nice too
    total = sum(t) - guest
    return total, total - t.idle - getattr(t, "iowait", 0.0)


class Sampler:
    """Samples the node and its handlers' processes. One thread."""

    def __init__(self, gpus: Gpus) -> None:
        self._gpus = gpus
        self._cpu = CpuMeter()
        self._processes: dict[int, tuple[psutil.Process, Usage]] = {}

    def system(self) -> tuple[SysInfo, list[GpuInfo]]:
        """Return the node's row and one per GPU."""
        now = time.time()
        memory = psutil.virtual_memory()
        gpus = self._gpus.sample(now)
        row = SysInfo(
            timestamp=now,
            cpu_util=self._cpu.percent(),
            mem_total=memory.total // MIB,
            mem_util=memory.percent,
            **gpu_means(gpus),
        )
        return row, gpus

    def processes(self, samples: Sequence[ProcessSample]) -> list[ProcInfo]:
        """Return a row per handler in *samples* whose process lives, or has worked, and forget all other processes.

        A process that has ended uses nothing: its CPU since its last row is not known.
        """
        gpu = self._gpus.processes() if samples else {}
        self._processes = {pid: kept for pid, kept in self._processes.items() if pid in {s.pid for s in samples}}
        rows = (self._row(sample, gpu) for sample in by_handler(samples))
        return [row for row in rows if row is not None]

    def _row(self, sample: ProcessSample, gpu: Mapping[int, tuple[int, int]]) -> ProcInfo | None:
        use = None if sample.pid is None else self._use(sample.pid)
        if use is None and not sample.frames:
            return None
        cpu_util, mem_util = use or (0.0, 0.0)
        gpu_util, gpu_mem_util = (None, None) if sample.pid is None else gpu.get(sample.pid, (None, None))
        return ProcInfo(
            timestamp=time.time(),
            session_id=sample.session_id,
            handler_id=sample.handler_id,
            cpu_util=cpu_util,
            mem_util=mem_util,
            gpu_util=gpu_util,
            gpu_mem_util=gpu_mem_util,
            queue_size=sample.queue_size,
            frames=sample.frames,
            service_ms=sample.service_ms_sum / sample.frames if sample.frames else None,
        )

    def _use(self, pid: int) -> tuple[float, float] | None:
        """Return % of a core since the last call and % of the memory; None when it has just ended."""
        try:
            process, before = self._known(pid)
            with process.oneshot():
                cpu, memory = process.cpu_times(), process.memory_percent()
        except psutil.Error:
            self._processes.pop(pid, None)
            return None
        now = Usage(time.time(), cpu.user + cpu.system)
        self._processes[pid] = (process, now)
        return cpu_percent(before, now), round(memory, 3)

    def _known(self, pid: int) -> tuple[psutil.Process, Usage]:
        """Return the process with its last reading: of a new one its start. Raises psutil.Error."""
        kept = self._processes.get(pid)
        if kept is not None and kept[0].is_running():  # compares the start time: pids are used again
            return kept
        process = psutil.Process(pid)
        return process, Usage(process.create_time(), 0.0)


def hardware(gpus: Gpus) -> Hardware:
    """Return what the node has."""
    cpus = psutil.cpu_count() or 1
    return Hardware(cpus=cpus, mem_total=psutil.virtual_memory().total // MIB, gpus=gpus.hardware())


class LoadMeter:
    """The load between two heartbeats."""

    def __init__(self, gpus: Gpus) -> None:
        self._cpu, self._gpus = CpuMeter(), gpus

    def read(self) -> Load:
        """Return the node's load since the last call."""
        return Load(
            cpu_util=self._cpu.percent(),
            mem_util=psutil.virtual_memory().percent,
            shm_free=_free("/dev/shm"),  # noqa: S108 - asked how full it is, nothing is made there
            disk_free=_free("."),
            gpus=[
                GpuLoad(gpu_id=g.gpu_id, util=g.gpu_util, mem_util=g.gpu_mem_util)
                for g in self._gpus.sample(time.time())
            ],
        )


def _free(folder: str) -> int | None:
    """Return MiB free in *folder*, or None where it is not."""
    try:
        return int(psutil.disk_usage(folder).free // MIB)
    except OSError:
        return None
