"""Which share of a session's frames will come later than they are of use: the tail of the latency, not its mean.

How many frames come, and what each takes, changes slowly with the scene. So the load is a random factor f of what is
known now, and for each f the queues are as if it stayed so (pointwise stationary approximation, Green and Kolesar,
Management Science 1991). f is Erlang-2: mean 1, squared coefficient of variation 0.5, assumed.
    late = E[1 - product over the handlers of (1 - P(wait > limit - transfer - f compute))]
    P(wait > t) = C exp(-t / w),  C = rho^(sqrt(2(c+1))-1),  w = f S (1 + cv2) / 2 / (c (1 - rho)),  rho = f S rate / c
C w is the mean wait of M/G/c by Sakasegawa (1977); that long waits are exponential is Kingman's (1961) heavy traffic.
"""

import numpy as np

from coordinator.allocation.arrays import Floats
from coordinator.allocation.base import work
from coordinator.allocation.cost import Evaluator
from coordinator.allocation.outcome import Assignment
from coordinator.allocation.queueing import SERVICE_CV2, queue_ms

LOADS: Floats = np.arange(0.25, 4.51, 0.25)  # f; above it little is left
WEIGHTS: Floats = LOADS * np.exp(-2 * LOADS) / (LOADS * np.exp(-2 * LOADS)).sum()


class Tail:
    """Of one variant at the evaluator's rate, for any assignment. limit_ms: a frame later than that is late."""

    def __init__(self, costs: Evaluator, limit_ms: float) -> None:
        self._costs, self._limit = costs, limit_ms
        handlers = costs.topology.handlers
        self._ordinary = {h: costs.model.times.ordinary(work(handlers[h])) for h in costs.needed}

    def late(self, nodes: Assignment, entry: int) -> float:
        """Return the share of late frames, 0-1. entry: index of the node whose gateway takes the frames."""
        return float(WEIGHTS @ (1 - np.prod(1 - self._waits(nodes, entry), axis=0)))

    def slowest(self, nodes: Assignment, entry: int) -> list[int]:
        """Return the handlers that every frame passes, those first before which most frames wait for too long."""
        shares = self._waits(nodes, entry) @ WEIGHTS
        return [self._costs.needed[i] for i in np.argsort(-shares, kind="stable")]

    def _waits(self, nodes: Assignment, entry: int) -> Floats:
        """Return the share of frames that wait for too long before each handler (handlers, factors)."""
        costs, load = self._costs, self._costs.load(nodes)
        outcome = costs.evaluate(nodes, entry).latency
        busy, services = outcome.compute + outcome.wait, []
        for handler in costs.needed:
            compute, wait = costs.own(handler, nodes, load)
            queue = self._queue(handler, nodes)
            alone = compute + wait - queue
            service = max(alone, self._mean(self._ordinary[handler], handler, nodes))
            busy += service - alone - queue
            services.append(service)
        replicas = np.array([len(nodes[h]) for h in costs.needed], float)
        slack = self._limit - outcome.transfer - LOADS * max(0.0, busy)
        return _waits_longer(slack, np.outer(services, LOADS), costs.rate or 0.0, replicas[:, None])

    def _queue(self, handler: int, nodes: Assignment) -> float:
        """Return the mean wait in the handler's queue, ms, as the evaluator has it."""
        rate, places = self._costs.rate, nodes[handler]
        if rate is None:
            return 0.0
        ms = self._costs.costs[handler].ms
        return sum(float(queue_ms(float(ms[n]), rate, len(places))) for n in places) / len(places)

    @staticmethod
    def _mean(values: Floats, handler: int, nodes: Assignment) -> float:
        return sum(float(values[n]) for n in nodes[handler]) / len(nodes[handler])


def _waits_longer(ms: Floats, service_ms: Floats, rate: float, replicas: Floats) -> Floats:
    """Return the share of frames that wait longer than *ms* (factors) at each handler (handlers, factors); 1 where it
    cannot keep up, or no time is left.
    """
    rho = service_ms * rate / 1000 / replicas
    below: Floats = np.minimum(rho, 0.999)
    scale = np.maximum(service_ms * (1 + SERVICE_CV2) / 2 / (replicas * (1 - below)), 1e-9)
    waits = below ** ((2 * (replicas + 1)) ** 0.5 - 1) * np.exp(-np.maximum(ms, 0.0) / scale)
    share: Floats = np.where((rho >= 1) | (ms <= 0), 1.0, waits)
    return share
