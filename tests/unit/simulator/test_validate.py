"""The comparison with the real system: what the calibration becomes, and how errors are told."""

import random
import statistics

import pytest

from simulator import validate
from simulator.validate import Calibration


def calibration() -> Calibration:
    draw = random.Random(1)
    return Calibration({0: [2.0] * 50, 1: [draw.gammavariate(4, 5) for _ in range(400)]}, overhead_ms=6.0)


def test_the_simulator_is_given_what_was_measured() -> None:
    """Service times with their spread, on the nodes where the handlers are."""
    made = validate.scenario(calibration(), {"0": [7], "1": [9], "2": [7]}, 10.0, 30.0)
    assert [k.ms for k in made.kinds] == [2.0, pytest.approx(statistics.fmean(calibration().services[1]))]
    assert made.kinds[0].cv2 == 0 and made.kinds[1].cv2 == pytest.approx(0.25, rel=0.2)
    assert made.sessions[0].placed == {0: [1], 1: [2]}


def test_it_expects_the_calibration_at_no_load_and_more_at_high_load() -> None:
    known = calibration()
    idle, busy = (validate.simulate(known, {"0": [7], "1": [9]}, f * known.capacity, 60.0) for f in (0.02, 0.8))
    assert statistics.fmean(idle) == pytest.approx(6 + 2 + statistics.fmean(known.services[1]), rel=0.1)
    wait = 0.8 / 0.2 * statistics.fmean(known.services[1]) * 1.25 / 2  # Pollaczek-Khinchine
    assert statistics.fmean(busy) == pytest.approx(statistics.fmean(idle) + wait, rel=0.3)


def test_errors_are_shares_of_what_was_measured() -> None:
    row = validate.compared(0.3, 5.0, [100.0] * 20, [90.0] * 20)
    assert row["p50"] == {"measured_ms": 100.0, "simulated_ms": 90.0, "error": -0.1, "wanted": 0.15}
