"""The comparison with the real system: what is recorded, what the simulator makes of it, and how errors are told."""

import random
import statistics

import pytest

from simulator import recording, validate
from simulator.recording import Loaded, Recording, Row
from simulator.validate import Frame


def known(load: float, seconds: float) -> Recording:
    """Return single frames, and moments at which frames were due; the latencies say nothing."""
    draw = random.Random(1)
    services = {0: [2.0] * 50, 1: [draw.gammavariate(4, 5) for _ in range(400)]}
    rate, due = load / statistics.fmean(services[1]) * 1000, [0.0]
    while due[-1] < seconds:
        due.append(due[-1] + draw.expovariate(rate))
    run = Loaded(load=load, due_s=due, latency_ms=[50.0] * len(due), service_ms={0: 2.0, 1: 40.0})
    return Recording(
        date="2026-01-01", machine="m", busy_cores=0.0, placement={0: 7, 1: 9}, service_ms=services,
        beyond_ms=[5.0, 6.0, 7.0], runs=[run],
    )  # fmt: skip


def mean_ms(of: Recording, means: dict[int, float]) -> float:
    return statistics.fmean(recording.simulate(of, of.runs[0], means))


def test_the_simulator_is_given_what_was_measured() -> None:
    """The moments, the service times with their spread, the nodes where the handlers are."""
    kept = known(0.3, 30.0)
    made = recording.scenario(kept, kept.runs[0], {0: 2.0, 1: 20.0})
    assert [k.samples_ms for k in made.kinds] == list(kept.service_ms.values())
    assert made.sessions[0].arrivals.times_s == kept.runs[0].due_s
    assert made.sessions[0].placed == {0: [1], 1: [2]}


def test_it_expects_single_frames_at_no_load_and_more_at_high_load() -> None:
    kept = known(0.02, 1000.0)
    service = statistics.fmean(kept.service_ms[1])
    idle = mean_ms(kept, {0: 2.0, 1: service})
    assert idle == pytest.approx(6 + 2 + service, rel=0.1)
    busy = mean_ms(known(0.8, 400.0), {0: 2.0, 1: service})
    wait = 0.8 / 0.2 * service * 1.25 / 2  # Pollaczek-Khinchine
    assert busy == pytest.approx(idle + wait, rel=0.3)


def test_frames_that_met_others_are_left_out() -> None:
    times = ((0.0, 0.3), (0.1, 0.2), (0.25, 0.4), (0.5, 0.6))
    frames = [Frame(due, answered, {0: float(i)}) for i, (due, answered) in enumerate(times)]
    assert [f.spans[0] for f in validate.alone(frames)] == [0.0, 3.0]


def test_errors_are_shares_of_what_was_measured() -> None:
    row = Row(0.3, 50, 100.0, 90.0, 104.0)
    assert row.error == pytest.approx(-0.1) and row.error_by_run == pytest.approx(0.04) and row.good
    assert not Row(0.3, 50, 100.0, 80.0, 100.0).good and Row(0.6, 95, 100.0, 80.0, 100.0).good
    assert recording.said([row]) == "at 30% load p50 -10%"


def test_what_the_simulator_makes_of_the_recording_that_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """The claims of docs/simulator.md stand: exit status 0 means that all errors are within what is wanted."""
    assert validate.main(["--again", str(recording.KEPT)]) == 0, capsys.readouterr().out
    kept = recording.kept()
    assert kept is not None
    now, then = ([r.error for r in found] for found in (recording.rows(kept), kept.rows))
    assert now == pytest.approx(then, abs=1e-6), "the simulator has changed: --again with --out tells it"
    assert {r.load for r in kept.runs} == set(validate.LOADS) and min(len(r.due_s) for r in kept.runs) > 300
