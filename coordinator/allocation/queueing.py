"""How long work waits. Works on numbers and on arrays alike; docs/allocation.md has the formulas with their sources."""

from typing import TypeVar

import numpy as np

from coordinator.allocation.arrays import Floats

Value = TypeVar("Value", float, Floats)

MAX_UTILISATION = 0.95  # above it the formulas leave for infinity; what is asked of them then is only "far too much"
USUAL_LOAD = 0.8  # what is usual is told apart from the nodes' loads up to here; above, a second's load says too little
SERVICE_CV2 = 0.5  # squared coefficient of variation of service times, assumed: pictures differ, models hardly


def core_stretch(utilisation: Value, cpus: Value) -> Value:
    """Return how much longer work takes on a node with `cpus` cores, as a share of its service time.

    Cores shared evenly by others' work: M/G/c processor sharing answers like M/M/c (insensitivity), whose waiting is
    rho^(sqrt(2(c+1))-1) / (c(1-rho)) service times (Sakasegawa 1977). Exact for c = 1: rho/(1-rho).
    utilisation: 0-1, of the whole node.
    """
    rho = _capped(utilisation)
    stretch: Value = rho ** ((2 * (cpus + 1)) ** 0.5 - 1) / (cpus * (1 - rho))
    return stretch


def queue_ms(service_ms: Value, rate: float, replicas: int) -> Value:
    """Return the mean wait before a handler's processes: M/G/c by Sakasegawa (1977), c replicas of which the least
    busy takes the frame; for one M/G/1 exactly (Pollaczek-Khinchine).
    """
    rho = _capped(service_ms * (rate / replicas / 1000))
    share = rho ** ((2 * (replicas + 1)) ** 0.5 - 1) / (replicas * (1 - rho))
    wait: Value = service_ms * share * ((1 + SERVICE_CV2) / 2)
    return wait


def _capped(utilisation: Value) -> Value:
    if isinstance(utilisation, np.ndarray):
        return np.minimum(utilisation, MAX_UTILISATION)
    return min(utilisation, MAX_UTILISATION)
