"""The simulator against queueing theory: means of seeded runs, within confidence intervals."""

import math
import statistics
from typing import Any

import msgspec
import pytest

from simulator.results import Result
from simulator.run import Run
from simulator.scenario import Scenario

SEEDS = range(10)
FRAMES = 8000  # of a run
MS = 10.0


def scenario(rho: float, cv2: float, handlers: int = 1, **changes: Any) -> Scenario:
    """Return Poisson arrivals at a row of handlers, each with a core of its own, of utilisation *rho*."""
    kind = {"ms": MS, "cv2": cv2, "load_ms": 0.001, "mem_mib": 1}
    names = [f"h{i}" for i in range(handlers)]
    fps = rho * 1000 / MS
    clients = {
        "service": "s", "fps": fps, "arrivals": {"kind": "poisson"}, "delivery": "lossless", "window": 1024,
        "waiting": 100_000,
    }  # fmt: skip
    document = {
        "name": "queue",
        "duration_s": FRAMES / fps,
        "warmup_s": 0.1 * FRAMES / fps,
        "kinds": [kind | {"name": name} for name in names],
        "nodes": [{"name": "n", "cpus": handlers}],
        "services": [{"name": "s", "variants": [{"name": "v", "handlers": names}]}],
        "sessions": [clients | changes],
        "control": {"period_s": 50, "rebalance": False, "rated": False},
    }
    return msgspec.convert(document, type=Scenario)


def sojourns_ms(asked: Scenario) -> list[float]:
    """Return the mean time in the system of each seed."""
    found = []
    for seed in SEEDS:
        run = Run(asked, "least_loaded", seed)
        run.run()
        found.append(1000 * statistics.fmean(run.held[0].session.tally.latencies))
    return found


def within(values: list[float], expected: float) -> bool:
    """Return True when *expected* is in the 99.9 % confidence interval of the mean (Student's t, 9 degrees)."""
    half = 4.78 * statistics.stdev(values) / math.sqrt(len(values))
    assert half < 0.12 * expected  # else the test would say nothing
    return abs(statistics.fmean(values) - expected) < half


@pytest.mark.parametrize("rho", [0.3, 0.7])
def test_m_m_1(rho: float) -> None:
    """S / (1 - rho)."""
    assert within(sojourns_ms(scenario(rho, 1.0)), MS / (1 - rho))


def test_m_d_1() -> None:
    """S + S rho / (2 (1 - rho))."""
    assert within(sojourns_ms(scenario(0.6, 0.0)), MS + MS * 0.6 / 0.8)


def test_m_g_1() -> None:
    """Pollaczek-Khinchine: S + S rho (1 + cv²) / (2 (1 - rho))."""
    assert within(sojourns_ms(scenario(0.6, 2.0)), MS + MS * 0.6 * 3 / 0.8)


def test_tandem_queues() -> None:
    """Burke: each of three M/M/1 in a row is as if alone."""
    assert within(sojourns_ms(scenario(0.5, 1.0, handlers=3)), 3 * MS / 0.5)


def test_a_processor_that_is_shared() -> None:
    """M/M/1-PS: sessions on one core answer in S / (1 - rho) on average, as one queue would."""
    asked = scenario(0.06, 1.0, count=10, every_s=0.01)
    asked = msgspec.structs.replace(asked, duration_s=asked.duration_s / 10, warmup_s=asked.warmup_s / 10)
    found = []
    for seed in SEEDS:
        run = Run(asked, "least_loaded", seed)
        run.run()
        found.append(1000 * statistics.fmean(x for h in run.held.values() for x in h.session.tally.latencies))
    assert within(found, MS / (1 - 0.6))


def test_little() -> None:
    """Frames in the system on average = arrivals per second * time in the system; seen by looking every 70 ms."""
    asked = scenario(0.6, 1.0)
    run = Run(asked, "least_loaded", 1)
    seen: list[int] = []

    def look() -> None:
        seen.append(run.held[0].session.in_flight)
        run.world.loop.at(run.world.loop.now + 0.07, look)

    run.world.loop.at(0.0, look)
    run.run()
    tally = run.held[0].session.tally
    there = sum(seen) * 0.07 / asked.duration_s
    assert there == pytest.approx(tally.delivered / asked.duration_s * statistics.fmean(tally.latencies), rel=0.1)


def books(result: Result) -> bool:
    return result.frames_in == result.delivered + sum(result.dropped.values()) + result.in_flight


def test_a_window_bounds_what_is_in_the_system() -> None:
    """M/M/1/K: a window of K without a line loses (1 - rho) rho^K / (1 - rho^(K + 1)) of the frames."""
    rho, k = 0.8, 4
    lost = []
    for seed in SEEDS:
        result = Run(scenario(rho, 1.0, window=k, waiting=0), "least_loaded", seed).run()
        assert books(result)
        lost.append(result.dropped["full"] / result.frames_in)
    assert within(lost, (1 - rho) * rho**k / (1 - rho ** (k + 1)))
