"""Counters in, rates of a period out."""

import os
import time

import pytest

from node.processes.control import LinkStats
from node.reporting.gpu import Gpus
from node.reporting.sampler import ProcessSample, Sampler, Usage, cpu_percent, gpu_means, link_rows, work
from wire.messages import GpuInfo


def gpu(gpu_id: int, util: int, power: int) -> GpuInfo:
    return GpuInfo(timestamp=1.0, gpu_id=gpu_id, gpu_util=util, gpu_mem_util=10, gpu_clock=1000 + util, gpu_power=power)


def test_cpu_use_is_of_the_period_and_of_one_core() -> None:
    assert cpu_percent(Usage(10.0, 5.0, 0, 0.0), Usage(12.0, 8.0, 0, 0.0)) == 150.0
    assert cpu_percent(Usage(10.0, 5.0, 0, 0.0), Usage(10.0, 8.0, 0, 0.0)) == 0.0


def test_service_time_is_the_mean_of_the_period() -> None:
    assert work(Usage(0, 0, 10, 100.0), Usage(1, 0, 14, 120.0)) == (4, 5.0)
    assert work(Usage(0, 0, 10, 100.0), Usage(1, 0, 10, 100.0)) == (0, None)
    assert work(Usage(0, 0, 10, 100.0), Usage(1, 0, 2, 8.0)) == (2, 4.0)  # a new process under the same pid


def test_several_gpus_are_averaged_and_their_power_summed() -> None:
    assert gpu_means([gpu(0, 40, 60), gpu(1, 60, 50)]) == {
        "gpu_util": 50,
        "gpu_mem_util": 10,
        "gpu_clock": 1050,
        "gpu_power": 110,
    }
    assert set(gpu_means([]).values()) == {None}


def test_links_are_summed_by_target_and_averaged_by_frame() -> None:
    rows = link_rows([LinkStats(2, 3, 300, 6.0), LinkStats(1, 1, 10, 1.0), LinkStats(2, 1, 100, 2.0)], 5.0)
    assert [(r.target_node_id, r.frames, r.bytes, r.send_ms) for r in rows] == [(1, 1, 10, 1.0), (2, 4, 400, 2.0)]
    assert link_rows([LinkStats(2, 0, 0, 0.0)], 5.0) == []


def test_a_busy_process_is_seen_busy_and_one_that_is_gone_is_left_out() -> None:
    sampler = Sampler(Gpus())
    me = ProcessSample(1, 2, os.getpid(), 3, 0, 0.0)
    gone = ProcessSample(1, 3, 2**22 + 1, 0, 0, 0.0)  # above the kernel's highest pid
    sampler.processes([me, gone])
    began = time.monotonic()
    while time.monotonic() - began < 0.3:
        sum(n * n for n in range(10_000))
    [row] = sampler.processes([me, gone])
    assert row.cpu_util > 20
    assert 0 < row.mem_util < 100
    assert (row.session_id, row.handler_id, row.queue_size) == (1, 2, 3)


def test_the_node_itself() -> None:
    row, gpus = Sampler(Gpus()).system()
    assert row.mem_total > 100
    assert 0 < row.mem_util < 100
    assert row.timestamp == pytest.approx(time.time(), abs=5)
    assert (row.gpu_util is None) == (gpus == [])
