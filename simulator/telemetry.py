"""What the coordinator knows: loads, service times and links as agents would have measured them, one period old."""

from collections.abc import Iterable, Mapping

from coordinator.allocation.base import LinkView, Measured, NodeView, Placement, Snapshot, Work
from coordinator.allocation.link_fit import LinkSums, fit
from coordinator.allocation.queueing import USUAL_LOAD, core_stretch
from simulator.node import Process
from simulator.world import World

SYSTEM_MIB = 500.0  # what runs on a node anyway
RISES_S, FALLS_S = 240.0, 60.0  # of the usual times, as coordinator.usual has it
KEPT = 0.9  # share of the frames measured so far that counts after a period
ENOUGH = 200.0  # frames that a mean is worth at most, as coordinator.snapshot has it

Used = tuple[Work, float]  # work of a process, MiB of it


class Telemetry:
    """sample() is called each period; snapshot() gives what was known then."""

    def __init__(self, world: World) -> None:
        self._world, self.control = world, world.scenario.control
        self._busy = dict.fromkeys(world.nodes, 0.0)  # core seconds at the last sample
        self._when = 0.0
        self._util = dict.fromkeys(world.nodes, 0.0)
        self._mib = dict.fromkeys(world.nodes, SYSTEM_MIB)
        self._times: dict[tuple[Work, int], list[float]] = {}  # frames, ms in all
        self._usual: dict[tuple[Work, int], tuple[float, float]] = {}  # ms without waiting for cores, first heard (s)
        self._runs = {n: world.runs(n) for n in world.nodes}

    def sample(self, processes: Iterable[tuple[Process, Work, float]]) -> None:
        """Read all nodes and the *processes* (with their work, and MiB)."""
        now = self._world.loop.now
        passed = max(1e-9, now - self._when)
        self._when = now
        for n, node in self._world.nodes.items():
            node.settle()
            self._util[n] = min(100.0, 100 * (node.core_seconds - self._busy[n]) / (passed * node.cpus))
            self._busy[n] = node.core_seconds
            self._mib[n] = SYSTEM_MIB
        for sums in self._times.values():
            sums[0] *= KEPT
            sums[1] *= KEPT
        for process, what, mib in processes:
            n = process.node.node_id
            self._mib[n] += mib
            frames, wall = process.take()
            if frames:
                sums = self._times.setdefault((what, n), [0.0, 0.0])
                sums[0] += frames
                sums[1] += wall * 1000
                self._hear((what, n), 1000 * wall / frames, wall / passed)

    def _hear(self, key: tuple[Work, int], ms: float, own_cores: float) -> None:
        """Take a time of the last period, less what waiting for the cores that others keep busy made of it."""
        now, n = self._when, key[1]
        cpus = self._world.machines[n].cpus
        load = min(USUAL_LOAD, max(0.0, self._util[n] / 100 - own_cores / cpus))
        alone = ms / (1 + float(core_stretch(load, cpus)))
        before, since = self._usual.get(key, (alone, now))
        constant = RISES_S if alone > before else max(self.control.period_s, min(FALLS_S, now - since))
        self._usual[key] = before + min(1.0, self.control.period_s / constant) * (alone - before), since

    def _usual_times(self) -> dict[Work, Measured]:
        """Return what each work takes over the nodes where it ran, those that know it longer counting more."""
        sums: dict[Work, list[float]] = {}
        for (what, _), (ms, since) in self._usual.items():
            known = sums.setdefault(what, [0.0, 0.0])
            known[0] += 1.0 + self._when - since
            known[1] += (1.0 + self._when - since) * ms
        return {what: Measured(ms=total / weight, frames=weight) for what, (weight, total) in sums.items()}

    def snapshot(self, refuses: Mapping[int, str], placements: Mapping[int, Placement]) -> Snapshot:
        """Return what an allocation may look at. refuses: nodes that take nothing now, with the reason."""
        nodes = {n: self._node(n, refuses.get(n)) for n in self._world.nodes}
        times = {
            key: Measured(ms=ms / frames, frames=min(frames, ENOUGH))
            for key, (frames, ms) in self._times.items()
            if frames >= 1
        }
        return Snapshot(
            nodes=nodes,
            types=self._world.types,
            times=times,
            links=self._links(),
            usual=self._usual_times(),
            placements=placements,
        )

    def _node(self, node_id: int, refuses: str | None) -> NodeView:
        is_ = self._world.machines[node_id]
        return NodeView(
            node_id=node_id,
            node_name=f"{is_.name}-{node_id}",
            refuses=refuses,
            zone=is_.zone,
            cpus=is_.cpus,
            mem_total=is_.mem_mib,
            mem_util=min(100.0, 100 * self._mib[node_id] / is_.mem_mib),
            cpu_util=self._util[node_id],
            available=self._runs[node_id],
            cost_per_hour=is_.cost_per_hour,
            watts_idle=is_.watts_idle,
            watts_busy=is_.watts_busy,
        )

    def _links(self) -> dict[tuple[int, int], LinkView]:
        found = {}
        for pair, (frames, size, ms, size_size, size_ms) in self._world.network.sums.items():
            view = fit(LinkSums(frames=frames, size=size, ms=ms, size_size=size_size, size_ms=size_ms))
            if view is not None:
                found[pair] = view
        return found
