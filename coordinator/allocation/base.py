"""What an allocation algorithm sees and says. Immutable; imports nothing of the coordinator but the wire."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from wire.graph import Topology
from wire.messages import HandlerSpec, Objective


class TypeView(Struct, frozen=True, kw_only=True):
    """A handler type as far as placing it matters."""

    handler_type: int
    name: str
    stateful: bool = False  # needs all frames of its session: one replica only
    service_ms: float | None = None  # prior of the profile: per frame, on one core
    memory_mib: float | None = None
    gpu_memory_mib: float | None = None  # of a GPU, where the handler's parameter `gpu` is true
    load_ms: float | None = None  # until it is ready: what moving it costs
    outputs: tuple[str, ...] = ()  # type of each output: Image, Encoded, Boxes, any
    output_bytes: tuple[int, ...] = ()  # of the profile, one per output: what a frame weighs; else by the type
    variations: tuple[tuple[Mapping[str, Any], "TypeView"], ...] = ()  # what it is with some other parameters

    def given(self, params: Mapping[str, Any]) -> "TypeView":
        """Return the type as a handler with *params* is expected to be: by the variation that says most of them."""
        fitting = [(len(v), view) for v, view in self.variations if all(params.get(k) == v[k] for k in v)]
        return max(fitting, key=lambda f: f[0])[1] if fitting else self


class Variant(Struct, frozen=True, kw_only=True):
    """One graph that does the service's job."""

    variant_name: str
    accuracy: float | None
    topology: Topology


class Request(Struct, frozen=True, kw_only=True):
    """What is to be placed. variants: those allowed, the preferred one first.

    pins: handler_id -> nodes it may run on; without `replicas` it runs on all of them.
    """

    service: str
    variants: tuple[Variant, ...]
    objective: Objective = Objective()
    pins: Mapping[int, tuple[int, ...]] = {}
    replicas: Mapping[int, int] = {}
    labels: frozenset[str] = frozenset()  # every node used must carry them
    entry_node: int | None = None
    rate: float | None = None  # frames/s expected; None: one client that waits for each result
    judged_ms: float | None = None  # a frame later than that is late, though no bound says so; see within_ms
    seed: int = 0  # all randomness comes from here
    explain: bool = False  # somebody will read why: what each handler costs here and elsewhere

    @property
    def within_ms(self) -> float | None:
        """Return within which time a frame is of use: as the objective says, or is known without a bound."""
        return self.objective.max_latency_ms if self.judged_ms is None else self.judged_ms

    def count(self, handler_id: int) -> int:
        """Return on how many nodes the handler is to run."""
        return self.replicas.get(handler_id, max(1, len(self.pins.get(handler_id, ()))))


class NodeView(Struct, frozen=True, kw_only=True):
    """A node at the moment of the snapshot."""

    node_id: int
    node_name: str = ""
    refuses: str | None = None  # why it takes no handlers now (down, cordoned...); None: it takes them
    zone: str = ""
    labels: frozenset[str] = frozenset()
    cpus: int = 1
    mem_total: int = 0  # MiB; 0: unknown
    cpu_util: float = 0.0  # %, 0-100, of the whole node
    mem_util: float = 0.0  # %
    gpu_mem_free: float | None = None  # MiB, of its GPU with the most; None: it has no GPU
    gpus_free: tuple[float, ...] = ()  # MiB, of each of its GPUs where there are several
    available: frozenset[int] = frozenset()  # handler types that can run here
    unavailable: Mapping[int, str] = {}  # handler type -> why not
    cost_per_hour: float | None = None  # of the whole node, in the operator's currency
    watts_idle: float | None = None
    watts_busy: float | None = None  # with all cores busy

    @property
    def mem_free(self) -> float:
        """MiB."""
        return self.mem_total * (1 - self.mem_util / 100)

    @property
    def gpus(self) -> tuple[float, ...]:
        """MiB free on each GPU."""
        return self.gpus_free if self.gpus_free or self.gpu_mem_free is None else (self.gpu_mem_free,)


class LinkView(Struct, frozen=True, kw_only=True):
    """What sending from one node to another costs, as measured. bytes_per_s None: the size makes no difference."""

    latency_ms: float
    bytes_per_s: float | None = None


class Measured(Struct, frozen=True, kw_only=True):
    """A service time: mean wall time of `frames` frames. frames: how much the mean is worth, old ones count less."""

    ms: float
    frames: float = 1e6


class Placement(Struct, frozen=True, kw_only=True):
    """handler_id -> the nodes it runs on; entry_node: whose gateway takes the client's frames."""

    nodes: Mapping[int, tuple[int, ...]]
    entry_node: int

    def used(self) -> set[int]:
        """Return every node that holds a part of the session."""
        return {n for nodes in self.nodes.values() for n in nodes} | {self.entry_node}


Work = tuple[int, str]  # handler type, parameters as canonical JSON: what a service time belongs to


def work(handler: HandlerSpec) -> Work:
    """Return the key by which service times are measured."""
    return handler.handler_type, msgspec.json.encode(handler.params, order="sorted").decode()


def params_of(what: Work) -> dict[str, Any]:
    """Return the parameters in the key of a service time."""
    params: dict[str, Any] = msgspec.json.decode(what[1])
    return params


class Snapshot(Struct, frozen=True, kw_only=True, dict=True):
    """All that an allocation may look at. (`dict`: the cost model made of it is kept with it, see cost.model.)"""

    nodes: Mapping[int, NodeView]
    types: Mapping[int, TypeView]
    times: Mapping[tuple[Work, int], Measured] = {}  # (work, node_id) -> service time per frame
    usual: Mapping[Work, Measured] = {}  # what a work takes on ordinary nodes, over the last minutes
    links: Mapping[tuple[int, int], LinkView] = {}  # (from, to)
    placements: Mapping[int, Placement] = {}  # of the sessions that run now


class Explanation(Struct, frozen=True, kw_only=True):
    """Why a handler runs where it runs, and for each other node why not there."""

    handler_id: int
    handler_type: int
    name: str
    nodes: tuple[int, ...]
    why: str
    others: Mapping[int, str] = {}


class Predicted(Struct, frozen=True, kw_only=True):
    """What is expected of a placement. basis: "measured", "prior" (profiles only) or "mixed"."""

    latency_ms: float
    fps: float | None
    accuracy: float | None
    basis: str
    compute_ms: float = 0.0  # the three parts of the latency, along the slowest path
    wait_ms: float = 0.0
    transfer_ms: float = 0.0
    cost_per_1000: float | None = None  # of 1,000 frames, in the currency of cost_per_hour
    late: float | None = None  # share of the frames later than they are of use, 0-1, where that and the rate are known
    joules: float | None = None  # per frame, above what the nodes draw when idle


class Decision(Struct, frozen=True, kw_only=True):
    """What an algorithm chose. passed_over: variant -> why it was not taken."""

    variant: Variant
    placement: Placement
    predicted: Predicted
    explanation: tuple[Explanation, ...]
    passed_over: Mapping[str, str] = {}


class Unplaceable(Exception):
    """No node takes the handler; reasons: node_id -> why not."""

    def __init__(self, detail: str, reasons: Mapping[int, str], handler_id: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reasons = dict(reasons)
        self.handler_id = handler_id


class Algorithm(Protocol):
    """Pure: no I/O, no clock, no randomness but the request's seed."""

    def allocate(self, request: Request, snapshot: Snapshot, current: Placement | None) -> Decision:
        """Return a decision. Raises Unplaceable."""
