"""GPU figures through NVML, for all GPUs. Without the library or a GPU there are none; the log says so once."""

import logging
from typing import Any

import pynvml

from wire.messages import Gpu, GpuInfo

MIB = 1 << 20

logger = logging.getLogger(__name__)


class Gpus:
    """The node's GPUs. Any thread may `sample`; `processes` is one thread's."""

    def __init__(self) -> None:
        self._handles: list[Any] = []  # NVML's opaque handles, by gpu_id
        self._seen_us: dict[int, int] = {}  # gpu_id -> time stamp of the last process sample, us
        try:
            pynvml.nvmlInit()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        except pynvml.NVMLError as error:
            logger.info("no GPU figures: %s", error)

    def hardware(self) -> list[Gpu]:
        """Return what the GPUs are."""
        return [
            Gpu(
                gpu_id=i,
                name=_text(pynvml.nvmlDeviceGetName(h)),
                mem_total=pynvml.nvmlDeviceGetMemoryInfo(h).total // MIB,
            )
            for i, h in enumerate(self._handles)
        ]

    def sample(self, timestamp: float) -> list[GpuInfo]:
        """Return a row per GPU; one that does not answer (fallen off the bus) is left out."""
        rows = []
        for gpu_id, handle in enumerate(self._handles):
            try:
                rows.append(_sample(timestamp, gpu_id, handle))
            except pynvml.NVMLError as error:
                logger.warning("GPU %d: %s", gpu_id, error)
        return rows

    def processes(self) -> dict[int, tuple[int, int]]:
        """Return pid -> (gpu_util %, gpu_mem_util %) of the processes seen since the last call, summed over GPUs."""
        found: dict[int, tuple[int, int]] = {}
        for gpu_id, handle in enumerate(self._handles):
            for sample in self._process_samples(gpu_id, handle):
                util, memory = found.get(sample.pid, (0, 0))
                found[sample.pid] = (util + sample.smUtil, memory + sample.memUtil)
        return found

    def _process_samples(self, gpu_id: int, handle: Any) -> list[Any]:
        """Return the newest sample of each process on one GPU."""
        since = self._seen_us.get(gpu_id, 0)
        try:
            samples = pynvml.nvmlDeviceGetProcessUtilization(handle, since)
        except pynvml.NVMLError:  # none since then, or a card that does not count by process
            return []
        newest = {s.pid: s for s in sorted(samples, key=lambda s: int(s.timeStamp))}
        self._seen_us[gpu_id] = max((int(s.timeStamp) for s in samples), default=since)
        return list(newest.values())

    def close(self) -> None:
        """Give NVML back."""
        if self._handles:
            self._handles = []
            pynvml.nvmlShutdown()


def _sample(timestamp: float, gpu_id: int, handle: Any) -> GpuInfo:
    util = pynvml.nvmlDeviceGetUtilizationRates(handle)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return GpuInfo(
        timestamp=timestamp,
        gpu_id=gpu_id,
        gpu_util=util.gpu,
        gpu_mem_util=round(100 * memory.used / memory.total),
        gpu_clock=_clock(handle),
        gpu_power=_power(handle),
    )


def _power(handle: Any) -> int:
    """Return W; 0 for a card that does not measure it."""
    try:
        return int(pynvml.nvmlDeviceGetPowerUsage(handle)) // 1000
    except pynvml.NVMLError:
        return 0


def _clock(handle: Any) -> int:
    """Return MHz; 0 for a card that does not say."""
    try:
        return int(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM))
    except pynvml.NVMLError:
        return 0


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
