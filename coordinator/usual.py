"""What each work usually takes where nobody disturbs it, so that a node that has become slow stands out. In memory.

Measured times alone cannot tell slow work from a slow node while the work runs on one node only. So of each (work,
node) a slow mean is kept, of times without their wait for cores; it falls sooner than it rises, for what is slow now
and was fast before is the node's doing. After a restart the first seconds count as usual.
"""

import threading
from collections.abc import Mapping

from coordinator.allocation.base import Measured, Work, work
from coordinator.allocation.queueing import USUAL_LOAD, core_stretch
from coordinator.promises import entries
from coordinator.records import SessionRecord
from coordinator.snapshot import NodeStatus, Times, mean

RISES_S, FALLS_S = 240.0, 60.0  # time constants of the mean
FORGET_S = 900.0  # a pair that was not heard for so long


class Usual:
    """Thread-safe. One exponential mean per (work, node)."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[Work, int], tuple[float, float, float]] = {}  # mean ms, since, last heard (monotonic s)
        self._lock = threading.Lock()

    def hear(self, times: Times, at: float) -> None:
        """Take undisturbed() times of *at* (monotonic s)."""
        with self._lock:
            for key, time in times.items():
                before, since, last = self._pairs.get(key, (time.ms, at, at))
                constant = RISES_S if time.ms > before else max(1e-9, min(FALLS_S, at - since))
                share = min(1.0, (at - last) / constant)
                self._pairs[key] = (before + share * (time.ms - before), since, at)
            self._pairs = {k: p for k, p in self._pairs.items() if at - p[2] < FORGET_S}

    def times(self) -> Mapping[Work, Measured]:
        """Return work -> its mean over the nodes where it ran."""
        with self._lock:
            found: dict[Work, list[Measured]] = {}
            for (what, _), (ms, since, last) in self._pairs.items():
                found.setdefault(what, []).append(Measured(ms=ms, frames=1.0 + last - since))
        return {what: mean(times) for what, times in found.items()}


def undisturbed(nodes: Mapping[int, NodeStatus], sessions: Mapping[int, SessionRecord]) -> Times:
    """Return (work, node) -> ms per frame as heartbeats have it, less the wait for cores that others keep busy."""
    found: dict[tuple[Work, int], list[Measured]] = {}
    rates = entries({n: status.heartbeat for n, status in nodes.items()})
    for node_id, status in nodes.items():
        beat = status.heartbeat
        cpus = float(max(1, beat.hardware.cpus))
        for held in beat.sessions:
            if held.session_id not in sessions:
                continue
            entry = rates.get((held.session_id, held.epoch))
            own = sum(h.service_ms or 0.0 for h in held.handlers) * ((entry.fps if entry else None) or 0.0) / 1000
            load = min(USUAL_LOAD, max(0.0, beat.load.cpu_util / 100 - own / cpus))
            handlers = {h.handler_id: h for h in sessions[held.session_id].plan.graph.handlers}
            for handler in held.handlers:
                if handler.service_ms is not None and handler.handler_id in handlers:
                    ms = handler.service_ms / (1 + float(core_stretch(load, cpus)))
                    key = (work(handlers[handler.handler_id]), node_id)
                    found.setdefault(key, []).append(Measured(ms=ms, frames=handler.frames))
    return {key: mean(times) for key, times in found.items()}
