"""The figures of a run. All but those of the machine (MACHINE) are the same each time for the same seed."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from simulator.held import Held, State
from simulator.scenario import Scenario
from simulator.world import World

if TYPE_CHECKING:
    from simulator.control import Controller

CORE_WATTS, IDLE_WATTS = 5.0, 0.0  # where nobody said, as coordinator.allocation has it
MACHINE = ("decision_ms_p50", "decision_ms_p95", "decisions_cpu_s", "cpu_s")  # differ from run to run


class SessionResult(Struct, frozen=True, kw_only=True):
    """One session. frames_in = delivered + dropped + in_flight."""

    number: int
    service: str
    state: State
    frames_in: int
    delivered: int
    dropped: dict[str, int]
    in_flight: int
    judged: int  # frames that came after the warm-up
    within: int  # of them answered within the objective
    miss_rate: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    moves: int
    refusals: int


class Result(Struct, frozen=True, kw_only=True):
    """One run. Rates are per second of the time after the warm-up."""

    scenario: str
    algorithm: str
    seed: int
    goodput_fps: float  # frames answered within the objective
    miss_rate: float  # share of the frames judged that were not
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    accuracy: float | None  # mean over the frames answered
    energy_j: float
    joules_per_frame: float | None  # per frame answered within the objective
    moves_per_hour: float
    repairs: int
    refused_sessions: int  # that never ran
    refusals: int  # answers 507
    fairness: float  # Jain's index of the sessions' shares within the objective
    frames_in: int
    delivered: int
    dropped: dict[str, int]
    in_flight: int
    decisions: int
    events: int
    decision_ms_p50: float | None  # of CPU time, as all that follow
    decision_ms_p95: float | None
    decisions_cpu_s: float  # all of them
    cpu_s: float  # the whole run
    sessions: list[SessionResult] = []


def jain(shares: list[float]) -> float:
    """Return (sum x)² / (n sum x²): 1 when all are alike, 1/n when one has all (Jain et al. 1984)."""
    squares = sum(x * x for x in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def collect(
    scenario: Scenario,
    algorithm: str,
    seed: int,
    world: World,
    held: Mapping[int, Held],
    controller: "Controller",
    busy: Mapping[int, tuple[float, float]],
    cpu_s: float,
) -> Result:
    """Return the figures. busy: node_id -> seconds up, core seconds busy; cpu_s: what the run took."""
    sessions = [_session(h) for h in held.values()]
    latencies = 1000 * np.concatenate([np.array(h.session.tally.latencies) for h in held.values()])
    judged, within = sum(s.judged for s in sessions), sum(s.within for s in sessions)
    delivered = sum(h.session.tally.judged_delivered for h in held.values())
    told = sum((h.session.tally.accuracy or 0.0) * h.session.tally.judged_delivered for h in held.values())
    energy = sum(_joules(world, n, up, core) for n, (up, core) in busy.items())
    took = [1000 * s for s in controller.decider.took]
    dropped: Counter[str] = Counter()
    for session in sessions:
        dropped.update(session.dropped)
    return Result(
        scenario=scenario.name,
        algorithm=algorithm,
        seed=seed,
        goodput_fps=within / (scenario.duration_s - scenario.warmup_s),
        miss_rate=1 - within / judged if judged else 0.0,
        p50_ms=quantile(latencies, 50),
        p95_ms=quantile(latencies, 95),
        p99_ms=quantile(latencies, 99),
        accuracy=told / delivered if delivered else None,
        energy_j=energy,
        joules_per_frame=energy / within if within else None,
        moves_per_hour=controller.rebalancer.moves * 3600 / scenario.duration_s,
        repairs=controller.repairs,
        refused_sessions=sum(s.state is State.REFUSED and s.delivered == 0 for s in sessions),
        refusals=sum(s.refusals for s in sessions),
        fairness=jain([s.within / s.judged for s in sessions if s.judged]),
        frames_in=sum(s.frames_in for s in sessions),
        delivered=sum(s.delivered for s in sessions),
        dropped=dict(sorted(dropped.items())),
        in_flight=sum(s.in_flight for s in sessions),
        decisions=len(took),
        events=world.loop.events - world.loop.stale,
        decision_ms_p50=quantile(np.array(took), 50),
        decision_ms_p95=quantile(np.array(took), 95),
        decisions_cpu_s=sum(took) / 1000,
        cpu_s=cpu_s,
        sessions=sessions,
    )


def _session(held: Held) -> SessionResult:
    tally = held.session.tally
    latencies = 1000 * np.array(tally.latencies)
    return SessionResult(
        number=held.number,
        service=held.clients.service,
        state=held.state,
        frames_in=tally.frames_in,
        delivered=tally.delivered,
        dropped=dict(sorted(tally.dropped.items())),
        in_flight=held.session.in_flight,
        judged=tally.judged,
        within=tally.within,
        miss_rate=1 - tally.within / tally.judged if tally.judged else None,
        p50_ms=quantile(latencies, 50),
        p95_ms=quantile(latencies, 95),
        p99_ms=quantile(latencies, 99),
        moves=len(held.moves),
        refusals=held.refusals,
    )


def quantile(values: "np.ndarray[tuple[int], np.dtype[np.float64]]", percent: float) -> float | None:
    """Return a percentile, None of nothing."""
    return float(np.percentile(values, percent)) if len(values) else None


def _joules(world: World, node_id: int, up_s: float, core_s: float) -> float:
    is_ = world.machines[node_id]
    idle = IDLE_WATTS if is_.watts_idle is None else is_.watts_idle
    busy = idle + CORE_WATTS * is_.cpus if is_.watts_busy is None else is_.watts_busy
    return up_s * idle + core_s * max(0.0, busy - idle) / is_.cpus
