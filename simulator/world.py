"""From a scenario to what is simulated: nodes, network, handler types, variants, and the random streams."""

from collections.abc import Callable, Iterator

import numpy as np

from coordinator.allocation.base import TypeView, Variant
from simulator.draws import CYCLE, arrivals, faces, factors, generator, resampled
from simulator.loop import Loop
from simulator.network import Line, Network
from simulator.node import Item, Node, Process
from simulator.scenario import Clients, Kind, Machines, Scenario, ScenarioError, Way, links_of
from simulator.shape import Shape, shape
from wire.graph import GraphError, Topology
from wire.messages import Graph, HandlerSpec, Link

WORK, FACES, ARRIVALS, OFFSETS = 1, 2, 3, 4  # streams
MASK = CYCLE - 1


class World:
    """All that is there, before anything is placed."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario, self.seed, self.loop = scenario, seed, Loop()
        self.machines: dict[int, Machines] = {}  # node_id -> what it is
        for machines in scenario.nodes:
            for _ in range(machines.count):
                self.machines[len(self.machines) + 1] = machines
        self.nodes = {n: Node(self.loop, n, m.cpus, m.speed) for n, m in self.machines.items()}
        self.network = Network(self.loop, {n: m.zone for n, m in self.machines.items()}, _lines(scenario))
        self.kinds = {i + 1: kind for i, kind in enumerate(scenario.kinds)}  # handler type -> kind
        self._numbers = {kind.name: number for number, kind in self.kinds.items()}
        self.types = {number: _view(number, kind) for number, kind in self.kinds.items()}
        self.variants = {s.name: tuple(self._variant(way) for way in s.variants) for s in scenario.services}
        self.shapes: dict[tuple[str, str], Shape] = {
            (service, v.variant_name): shape(v, self.types) for service, vs in self.variants.items() for v in vs
        }
        self._factors = {n: _spread(generator(seed, WORK, n), kind) for n, kind in self.kinds.items()}
        self._faces: dict[int, list[float]] = {}  # id of the clients -> faces per frame

    def runs(self, node_id: int) -> frozenset[int]:
        """Return the handler types that a node can run."""
        names = self.machines[node_id].runs
        return frozenset(self.kinds) if names is None else frozenset(self._numbers[name] for name in names)

    def offsets(self, number: int) -> tuple[int, int]:
        """Return where the session with that number begins in the streams of work and faces."""
        draw = generator(self.seed, OFFSETS, number)
        return int(draw.integers(CYCLE)), int(draw.integers(CYCLE))

    def arrivals(self, number: int, clients: Clients, begin: float, end: float) -> Iterator[float]:
        """Return when the frames of a session come, s."""
        return arrivals(generator(self.seed, ARRIVALS, number), clients.arrivals, clients.fps, begin, end)

    def process(
        self, number: int, clients: Clients, handler: HandlerSpec, node_id: int, done: Callable[[Process, Item], float]
    ) -> Process:
        """Return a handler's process, empty."""
        work = self._work(number, clients, handler.handler_type, node_id)
        return Process(self.loop, self.nodes[node_id], handler.handler_id, work, done)

    def _work(self, number: int, clients: Clients, handler_type: int, node_id: int) -> Callable[[int], float]:
        """Return (sequence) -> s on a core of speed 1."""
        kind, pool = self.kinds[handler_type], self._factors[handler_type]
        first, second = self.offsets(number)
        scale = 1 / 1000 / self.machines[node_id].speeds.get(kind.name, 1.0)
        ms, each = kind.ms * scale, kind.face_ms * scale
        if not each:
            return lambda sequence: ms * pool[(first + sequence) & MASK]
        if id(clients) not in self._faces:
            place = self.scenario.sessions.index(clients)
            self._faces[id(clients)] = faces(generator(self.seed, FACES, place), clients.content)
        seen = self._faces[id(clients)]
        return lambda sequence: (ms + each * seen[(second + sequence) & MASK]) * pool[(first + sequence) & MASK]

    def _variant(self, way: Way) -> Variant:
        handlers = [
            HandlerSpec(handler_id=i, handler_name=name, handler_type=self._numbers[name])
            for i, name in enumerate(way.handlers)
        ]
        taken: dict[int, int] = {}
        links = []
        for source, target in links_of(way):
            links.append(Link(source_handler=source, target_handler=target, target_input=taken.get(target, 0)))
            taken[target] = taken.get(target, 0) + 1
        ports = {number: (kind.inputs, 1) for number, kind in self.kinds.items()}
        try:
            topology = Topology(Graph(handlers=handlers, links=links), ports)
        except GraphError as error:
            raise ScenarioError("/services", f"variant {way.name}: {error}") from error
        return Variant(variant_name=way.name, accuracy=way.accuracy, topology=topology)


def _spread(draw: np.random.Generator, kind: Kind) -> list[float]:
    """Return factors of a kind's times, as measured where that was, else by its variation."""
    return resampled(draw, kind.samples_ms) if kind.samples_ms else factors(draw, kind.cv2)


def _lines(scenario: Scenario) -> dict[tuple[str, str], Line]:
    return {
        (link.between[0], link.between[1]): Line(link.latency_ms / 1000, 8 / (link.mbit_s * 1e6))
        for link in scenario.links
    }


def _view(number: int, kind: Kind) -> TypeView:
    return TypeView(
        handler_type=number,
        name=kind.name,
        stateful=kind.stateful,
        load_ms=kind.load_ms,
        service_ms=kind.profile_ms or kind.ms + kind.face_ms,
        memory_mib=kind.mem_mib,
        outputs=(kind.output,),
        output_bytes=(kind.output_bytes,) if kind.output_bytes else (),
    )
