"""Counters in, rates of a period out."""

import os
import time

import pytest

from node.held import HandlerSlot
from node.processes.children import Hooks, Job
from node.processes.control import LinkStats, Telemetry
from node.processes.launcher import Launcher
from node.reporting.gpu import Gpus
from node.reporting.sampler import ProcessSample, Sampler, Usage, cpu_percent, gpu_means, link_rows
from wire.messages import GpuInfo


def gpu(gpu_id: int, util: int, power: int) -> GpuInfo:
    return GpuInfo(timestamp=1.0, gpu_id=gpu_id, gpu_util=util, gpu_mem_util=10, gpu_clock=1000 + util, gpu_power=power)


def test_cpu_use_is_of_the_period_and_of_one_core() -> None:
    assert cpu_percent(Usage(10.0, 5.0), Usage(12.0, 8.0)) == 150.0
    assert cpu_percent(Usage(10.0, 5.0), Usage(10.0, 8.0)) == 0.0


def test_service_time_is_the_mean_of_the_period() -> None:
    rows = Sampler(Gpus()).processes([ProcessSample(1, 2, os.getpid(), 0, 4, 20.0), ProcessSample(1, 3, 1, 0, 0, 0.0)])
    assert [(r.frames, r.service_ms) for r in rows] == [(4, 5.0), (0, None)]


def test_what_a_process_did_before_it_ended_is_in_a_row() -> None:
    """Of its own, or of the process that took its place; of one that did nothing there is none."""
    ended = [ProcessSample(1, 2, None, 0, 3, 9.0), ProcessSample(1, 3, None, 0, 1, 4.0)]
    idle = ProcessSample(1, 4, None, 0, 0, 0.0)
    rows = Sampler(Gpus()).processes([ProcessSample(1, 2, os.getpid(), 7, 1, 3.0), *ended, idle])
    assert [(r.handler_id, r.queue_size, r.frames, r.service_ms) for r in rows] == [(2, 7, 4, 3.0), (3, 0, 1, 4.0)]
    assert rows[0].mem_util > 0
    assert (rows[1].cpu_util, rows[1].mem_util) == (0.0, 0.0)


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


def test_a_handlers_work_is_sampled_once_whatever_becomes_of_its_process() -> None:
    hooks = Hooks(list, lambda again, blame: None, lambda message: None, lambda reason: None)
    slot = HandlerSlot(2, 9, Launcher(), Job("handler 2", lambda: None, ()), hooks)
    assert slot.sample(1) is None
    for frames in (3, 1):
        slot.count(Telemetry(frames=frames, service_ms=5.0 * frames, queue_size=4))
    slot.new_process()
    assert slot.sample(1) == ProcessSample(1, 2, None, 0, 4, 20.0)
    assert slot.sample(1) is None


def test_the_node_itself() -> None:
    row, gpus = Sampler(Gpus()).system()
    assert row.mem_total > 100
    assert 0 < row.mem_util < 100
    assert row.timestamp == pytest.approx(time.time(), abs=5)
    assert (row.gpu_util is None) == (gpus == [])
