"""The JSON bodies of the control APIs: one struct each. Decoding validates; unknown members are errors."""

from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
BigCount = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Id = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Epoch = Annotated[int, Meta(ge=0, le=2**53)]
Percent = Annotated[float, Meta(ge=0, le=1e9)]  # of one core for processes, hence over 100
Milliseconds = Annotated[float, Meta(ge=0, le=1e12)]
Timestamp = Annotated[float, Meta(ge=0, le=1e11)]  # s since the epoch
Amount = Annotated[float, Meta(ge=0, le=1e9)]  # of money, watts, frames per second
DEEPEST = 32  # levels of lists and objects in parameters


class Body(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=False):
    """Base of all bodies."""


def check_depth(params: dict[str, Any]) -> None:
    """Return when *params* hold no more than DEEPEST levels. Raises ValueError.

    They are decoded again by each daemon that they pass, and the decoders' own limit is not the same in all of them.
    """
    level: list[Any] = [params]
    for _ in range(DEEPEST):
        inner = [v for outer in level for v in (outer.values() if isinstance(outer, dict) else outer)]
        level = [v for v in inner if isinstance(v, dict | list)]
        if not level:
            return
    raise ValueError(f"parameters hold more than {DEEPEST} levels of lists and objects")


# --- graphs -------------------------------------------------------------------------------------------


class HandlerSpec(Body, frozen=True, kw_only=True):
    """One step of a graph."""

    handler_id: Id
    handler_name: str = ""
    handler_type: Id
    params: dict[str, Any] = {}
    node_id: Id | None = None  # pinned there by the service file

    def __post_init__(self) -> None:
        check_depth(self.params)


class Encoding(StrEnum):
    """How pictures travel over a hop."""

    RAW, JPEG = "raw", "jpeg"


class Link(Body, frozen=True, kw_only=True):
    """From an output of one handler to an input of another."""

    source_handler: Id
    source_output: Id = 0
    target_handler: Id
    target_input: Id = 0
    encoding: Encoding = Encoding.RAW


class ResultSpec(Body, frozen=True, kw_only=True):
    """An output whose data become part of the session's result."""

    handler_id: Id
    output: Id = 0
    on_demand: bool = False  # made only for frames whose picture is wanted


class Graph(Body, frozen=True, kw_only=True):
    """Handlers, links and the outputs that make the result (see wire.graph)."""

    handlers: list[HandlerSpec]
    links: list[Link] = []
    results: list[ResultSpec] = []


# --- node agent: PUT /sessions/<id> -------------------------------------------------------------------


class Delivery(StrEnum):
    """What a full window does: the client waits, or the oldest waiting frame is dropped."""

    LOSSLESS, LIVE = "lossless", "live"


class Route(Body, frozen=True, kw_only=True):
    """Where one replica of a handler runs."""

    node_id: Id
    url: str  # base of that node's data port, e.g. http://10.0.0.5:9100


class Entry(Body, frozen=True, kw_only=True):
    """The gateway that numbers the frames, and where they go first."""

    node_id: Id
    url: str  # base of the entry node's data port
    key: str  # unguessable part of the session's URLs
    handler_id: Id  # receives the client's frames; for a source (no inputs) the handler that makes them
    first_sequence: Annotated[int, Meta(ge=0, le=2**62)] = 0  # of the first frame: above those of a lost entry


class SessionPlan(Body, frozen=True, kw_only=True):
    """All that a node must know to hold its part of a session."""

    epoch: Epoch
    accept_from: Epoch  # oldest epoch still welcome
    graph: Graph
    local: list[Id]
    routes: dict[Id, list[Route]]
    entry: Entry
    results: list[ResultSpec]
    delivery: Delivery = Delivery.LOSSLESS
    window: Annotated[int, Meta(ge=1, le=1024)] = 16
    max_latency_ms: Annotated[float, Meta(gt=0)] | None = None  # live: frames that could not keep it are not let in


class Running(StrEnum):
    """State of a session on a node, and what a coordinator wants of it."""

    PREPARING, INITIALIZED, RUNNING, STOPPED, FAILED = "preparing", "initialized", "running", "stopped", "failed"


ENTRY_PLACE = "entry"  # where a frame was dropped that no handler ended


def handler_place(handler_id: int) -> str:
    """Return how the books call a handler as the place of a drop."""
    return f"handler {handler_id}"


class Books(Body, frozen=True, kw_only=True):
    """A session's accounts: frames_in = delivered + sum(dropped) + in_flight, always."""

    frames_in: BigCount = 0
    delivered: BigCount = 0
    dropped: dict[str, BigCount] = {}  # reason -> frames
    dropped_at: dict[str, dict[str, BigCount]] = {}  # the same by place: "entry" or "handler <id>" -> reason -> frames
    in_flight: BigCount = 0
    resent: BigCount = 0
    next_sequence: BigCount = 0


class HandlerStatus(Body, frozen=True, kw_only=True):
    """A handler's process on a node."""

    handler_id: Id
    state: str  # starting | running | backoff | failed
    pid: Count | None = None
    restarts: Count = 0
    frames: BigCount = 0
    service_ms: Milliseconds | None = None  # mean of the last period
    queue_size: Count = 0
    reason: str | None = None
    died: str | None = None  # why the process before this one ended, also when this one is ready


class NodeSession(Body, frozen=True, kw_only=True):
    """GET /sessions/<id> of a node; also part of the heartbeat."""

    session_id: Id
    epoch: Epoch
    state: Running
    entry: bool  # this node's gateway is the entry
    handlers: list[HandlerStatus] = []
    books: Books | None = None  # of the entry node only
    latency_ms: dict[str, Milliseconds] = {}  # p50, p95, p99 over the last results; entry node only
    fps: Amount | None = None  # entry node only
    source_ended: bool = False
    reason: str | None = None


# --- heartbeat ----------------------------------------------------------------------------------------


class HandlerAvailability(Body, frozen=True, kw_only=True):
    """One handler type on one node."""

    handler_type: Id
    name: str
    available: bool
    reason: str | None = None  # why not


class Gpu(Body, frozen=True, kw_only=True):
    """A GPU as NVML sees it."""

    gpu_id: Count
    name: str
    mem_total: Count  # MiB


class Hardware(Body, frozen=True, kw_only=True):
    """What a node has."""

    cpus: Count
    mem_total: Count  # MiB
    gpus: list[Gpu] = []


class GpuLoad(Body, frozen=True, kw_only=True):
    """What a GPU is doing."""

    gpu_id: Count
    util: Percent  # 0-100
    mem_util: Percent  # of its memory


class Load(Body, frozen=True, kw_only=True):
    """A node's load, sampled just before the heartbeat."""

    cpu_util: Percent  # 0-100, of the whole node
    mem_util: Percent
    shm_free: Count | None = None  # MiB free in shared memory, where frames between handlers are
    disk_free: Count | None = None  # MiB free where the node runs
    gpus: list[GpuLoad] = []


class Heartbeat(Body, frozen=True, kw_only=True):
    """POST /nodes/<id>/heartbeat."""

    node_id: Id
    node_name: Annotated[str, Meta(max_length=128)]  # the columns' widths: what decodes fits into the database
    boot_id: Annotated[str, Meta(max_length=64)]
    version: str = ""  # of the product
    control_url: Annotated[str, Meta(max_length=512)]
    data_url: Annotated[str, Meta(max_length=512)]
    zone: str = ""
    labels: list[str] = []
    handlers: list[HandlerAvailability] = []
    hardware: Hardware
    load: Load
    sessions: list[NodeSession] = []
    timestamp: Timestamp  # by the node's clock
    leaving: bool = False  # the agent is shutting down in order
    unreachable: list[Id] = []  # nodes that took no connection from this one since its last heartbeat
    cost_per_hour: Amount | None = None  # of the whole node, as its operator counts
    watts_idle: Amount | None = None
    watts_busy: Amount | None = None
    clock_offset_ms: float | None = None  # the node's clock minus the coordinator's
    clock_error_ms: float | None = None  # by how much that may be wrong


class WantedSession(Body, frozen=True, kw_only=True):
    """A session that a node should hold."""

    session_id: Id
    epoch: Epoch
    state: Running  # initialized, running or stopped
    plan: SessionPlan | None = None  # given when the node does not hold this epoch


class HeartbeatAnswer(Body, frozen=True, kw_only=True):
    """The sessions that a node should hold; it ends others after 10 s."""

    sessions: list[WantedSession] = []
    received: float | None = None  # s since the epoch, by the coordinator's clock: when the heartbeat came,
    answered: float | None = None  # and when this answer left


# --- coordinator: POST /sessions ----------------------------------------------------------------------


class Minimize(StrEnum):
    LATENCY, COST, ENERGY = "latency", "cost", "energy"


class Maximize(StrEnum):
    THROUGHPUT, ACCURACY = "throughput", "accuracy"


class Objective(Body, frozen=True, kw_only=True):
    """What to optimise, and what must hold."""

    minimize: Minimize | None = None
    maximize: Maximize | None = None
    max_latency_ms: Annotated[float, Meta(gt=0)] | None = None
    min_accuracy: Annotated[float, Meta(ge=0, le=1)] | None = None
    min_fps: Annotated[float, Meta(gt=0)] | None = None


class SessionRequest(Body, frozen=True, kw_only=True):
    """POST /sessions."""

    service: str | int
    variant: str | None = None
    algorithm: str | None = None
    objective: Objective | None = None
    pin: dict[Id, int | list[int]] = {}
    replicas: dict[Id, Annotated[int, Meta(ge=1, le=64)]] = {}
    labels: list[str] = []
    entry_node: Id | None = None
    params: dict[Id, dict[str, Any]] = {}
    delivery: Delivery = Delivery.LOSSLESS
    window: Annotated[int, Meta(ge=1, le=1024)] = 16
    priority: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] = 0
    start: bool = True

    def __post_init__(self) -> None:
        for params in self.params.values():
            check_depth(params)


# --- results (what clients get) -----------------------------------------------------------------------


class FrameStatus(StrEnum):
    OK, DROPPED, FAILED = "ok", "dropped", "failed"


# --- collector: POST /reports -------------------------------------------------------------------------

# Upper bounds are those of the columns: what decodes fits into the database.


class SysInfo(Body, frozen=True, kw_only=True):
    """One row of sys_info; the fields are the columns (node_id comes from the report)."""

    timestamp: Timestamp
    cpu_util: Percent
    mem_total: Count  # MiB
    mem_util: Percent
    gpu_util: Count | None = None  # %, mean over GPUs
    gpu_mem_util: Count | None = None  # %, mean
    gpu_clock: Count | None = None  # MHz, mean
    gpu_power: Count | None = None  # W, sum


class GpuInfo(Body, frozen=True, kw_only=True):
    """One row of gpu_info."""

    timestamp: Timestamp
    gpu_id: Id
    gpu_util: Count
    gpu_mem_util: Count
    gpu_clock: Count
    gpu_power: Count


class ProcInfo(Body, frozen=True, kw_only=True):
    """One row of proc_info."""

    timestamp: Timestamp
    session_id: Id
    handler_id: Id
    cpu_util: Percent  # % of one core
    mem_util: Percent
    gpu_util: Count | None = None
    gpu_mem_util: Count | None = None
    queue_size: Count = 0
    frames: Count = 0
    service_ms: Milliseconds | None = None  # mean of the period


class PacketEvent(StrEnum):
    START, END, SENT, RECV = "start", "end", "sent", "recv"


class PacketInfo(Body, frozen=True, kw_only=True):
    """One row of packet_info."""

    timestamp: Timestamp  # by the clock of the node that saw the event
    session_id: Id
    handler_id: Id
    sequence: BigCount
    event: PacketEvent
    size: Count | None = None  # bytes on the wire, for sent and recv


class LinkInfo(Body, frozen=True, kw_only=True):
    """One row of link_info: what this node sent to another in a period."""

    timestamp: Timestamp
    target_node_id: Id
    frames: Count
    bytes: BigCount
    send_ms: Milliseconds  # mean per frame, from first byte to the 202


class Report(Body, frozen=True, kw_only=True):
    """POST /reports."""

    node_id: Id
    boot_id: Annotated[str, Meta(min_length=1, max_length=64)]
    report_id: BigCount
    sys_info: list[SysInfo] = []
    proc_info: list[ProcInfo] = []
    packet_info: list[PacketInfo] = []
    link_info: list[LinkInfo] = []
    gpu_info: list[GpuInfo] = []
