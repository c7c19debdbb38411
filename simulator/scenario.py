"""A scenario: what is simulated, as JSON. Wrong content is refused with the JSON pointer of the fault."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from wire.messages import Delivery, Objective
from wire.pointers import json_pointer

Name = Annotated[str, Meta(min_length=1, max_length=64)]
Count = Annotated[int, Meta(ge=1, le=100_000)]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]


class ScenarioError(ValueError):
    """What is wrong, with the JSON pointer of where."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer or '/'}: {detail}")
        self.pointer, self.detail = pointer, detail


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all parts."""


class Kind(Part, frozen=True, kw_only=True):
    """A handler type. A frame takes (ms + face_ms * faces) * a random factor of mean 1 on a core of speed 1."""

    name: Name
    ms: NotNegative
    face_ms: NotNegative = 0.0
    cv2: NotNegative = 0.3  # squared coefficient of variation of the factor: 0 constant, 1 exponential
    samples_ms: list[Positive] = []  # measured times: the factor is drawn from these, divided by their mean, not by cv2
    profile_ms: Positive | None = None  # what the profile says; without: the truth on VGA with one face
    mem_mib: NotNegative = 80.0
    load_ms: NotNegative = 1500.0  # until the model is loaded
    output: str = "Boxes"
    output_bytes: Annotated[int, Meta(ge=0)] | None = None  # of a frame; without: by its type
    inputs: Annotated[int, Meta(ge=1, le=8)] = 1
    stateful: bool = False


class Machines(Part, frozen=True, kw_only=True):
    """Nodes of one sort."""

    name: Name
    count: Count = 1
    cpus: Annotated[int, Meta(ge=1, le=1024)] = 4
    speed: Positive = 1.0
    speeds: dict[str, Positive] = {}  # of a handler type there, times speed: an accelerator
    mem_mib: Annotated[int, Meta(ge=1)] = 16_000
    zone: str = ""
    runs: list[Name] | None = None  # handler types; without: all
    watts_idle: NotNegative | None = None
    watts_busy: NotNegative | None = None
    cost_per_hour: NotNegative | None = None


class ZoneLink(Part, frozen=True, kw_only=True):
    """What lies between the nodes of two zones (or of one). latency_ms: one way."""

    between: Annotated[list[str], Meta(min_length=2, max_length=2)]
    latency_ms: NotNegative
    mbit_s: Positive = 1000.0


class Way(Part, frozen=True, kw_only=True):
    """A variant: handler types by name, numbered from 0; links as [from, to], a chain without."""

    name: Name
    accuracy: Share | None = None
    handlers: Annotated[list[Name], Meta(min_length=1, max_length=32)]
    links: list[Annotated[list[int], Meta(min_length=2, max_length=2)]] | None = None


class Service(Part, frozen=True, kw_only=True):
    """A job and its variants, the preferred one first."""

    name: Name
    variants: Annotated[list[Way], Meta(min_length=1)]


class Pattern(StrEnum):
    """How frames come."""

    CONSTANT, POISSON, BURSTY, DIURNAL = "constant", "poisson", "bursty", "diurnal"
    RECORDED = "recorded"


class Arrivals(Part, frozen=True, kw_only=True):
    """peak: the high rate as a multiple of the low one (bursty, diurnal). times_s: of recorded frames."""

    kind: Pattern = Pattern.CONSTANT
    peak: Annotated[float, Meta(ge=1)] = 5.0
    burst_s: Positive = 5.0
    quiet_s: Positive = 20.0
    period_s: Positive = 600.0
    times_s: list[NotNegative] = []  # since the session's start


class Content(Part, frozen=True, kw_only=True):
    """What is on the pictures."""

    faces: NotNegative = 1.0  # mean per frame
    frames_stay: Positive = 50.0  # a face stays for so many


class Clients(Part, frozen=True, kw_only=True):
    """Sessions of one sort. fps: mean frames/s; objective.max_latency_ms is what a frame is judged by."""

    service: Name
    count: Count = 1
    fps: Positive
    arrivals: Arrivals = Arrivals()
    content: Content = Content()
    objective: Objective = Objective()
    delivery: Delivery = Delivery.LIVE
    window: Annotated[int, Meta(ge=1, le=1024)] = 16
    waiting: Annotated[int, Meta(ge=0, le=100_000)] = 1000  # lossless: frames that wait before the window, then refused
    start_s: NotNegative = 0.0
    every_s: NotNegative = 2.0  # between the starts of two
    last_s: Positive | None = None  # how long a session lasts; without: to the end
    entry_zone: str | None = None  # clients are there: a session's entry is a node of it, in turn
    priority: int = 0
    algorithm: str | None = None
    placed: dict[int, list[int]] = {}  # handler -> nodes where it runs when the scenario begins
    pinned: dict[int, list[int]] = {}  # handler -> nodes where it runs, always


class Fault(Part, frozen=True, kw_only=True):
    """A node is lost, or slow (speed factor), at a time and for a time."""

    at_s: NotNegative
    node: Annotated[int, Meta(ge=1)]
    last_s: Positive | None = None  # without: for ever
    slow: Positive | None = None  # without: it is lost


class Churn(Part, frozen=True, kw_only=True):
    """A node drawn at random is lost each every_s."""

    every_s: Positive
    down_s: Positive = 60.0


class Control(Part, frozen=True, kw_only=True):
    """The coordinator's settings."""

    period_s: Positive = 1.0
    heartbeat_timeout_s: Positive = 3.0
    rebalance: bool = True
    rated: bool = True  # sessions say their fps (min_fps is planned for), as clients should
    admission: bool = True  # who would miss its objective, or break others', is refused; without, all are placed
    retry_s: Positive | None = 10.0  # a refused client asks again


class Scenario(Part, frozen=True, kw_only=True):
    """All of it."""

    name: Name
    description: str = ""
    duration_s: Positive
    warmup_s: NotNegative = 0.0  # frames that come before do not count
    kinds: Annotated[list[Kind], Meta(min_length=1)]
    nodes: Annotated[list[Machines], Meta(min_length=1)]
    links: list[ZoneLink] = []
    services: Annotated[list[Service], Meta(min_length=1)]
    sessions: Annotated[list[Clients], Meta(min_length=1)]
    faults: list[Fault] = []
    churn: Churn | None = None
    control: Control = Control()


def load(path: Path) -> Scenario:
    """Return the scenario of a file. Raises ScenarioError, OSError."""
    return parse(path.read_bytes())


def parse(data: bytes) -> Scenario:
    """Return the scenario. Raises ScenarioError."""
    try:
        scenario = msgspec.json.decode(data, type=Scenario)
    except msgspec.ValidationError as error:
        detail, _, path = str(error).partition(" - at ")
        raise ScenarioError(json_pointer(path.strip("`"), detail), detail) from error
    except msgspec.DecodeError as error:
        raise ScenarioError("", f"is no JSON document: {error}") from error
    check(scenario)
    return scenario


def check(scenario: Scenario) -> None:
    """Raise ScenarioError where names are unknown or numbers do not go together."""
    kinds = {k.name: k for k in scenario.kinds}
    _unique("/kinds", [k.name for k in scenario.kinds])
    _unique("/services", [s.name for s in scenario.services])
    if scenario.warmup_s >= scenario.duration_s:
        raise ScenarioError("/warmup_s", f"is not before the end, {scenario.duration_s:g} s")
    for i, service in enumerate(scenario.services):
        for j, way in enumerate(service.variants):
            _check_way(way, kinds, f"/services/{i}/variants/{j}")
    _check_nodes(scenario, set(kinds))
    _check_sessions(scenario)


def _check_nodes(scenario: Scenario, kinds: set[str]) -> None:
    zones = {m.zone for m in scenario.nodes}
    for i, machines in enumerate(scenario.nodes):
        for name in [*(machines.runs or ()), *machines.speeds]:
            _known(name, kinds, f"/nodes/{i}", "kind")
    for i, link in enumerate(scenario.links):
        for zone in link.between:
            _known(zone, zones, f"/links/{i}/between", "zone")
    count = sum(m.count for m in scenario.nodes)
    for i, fault in enumerate(scenario.faults):
        if fault.node > count:
            raise ScenarioError(f"/faults/{i}/node", f"there are nodes 1 to {count}, not {fault.node}")


def _check_sessions(scenario: Scenario) -> None:
    services, zones = {s.name for s in scenario.services}, {m.zone for m in scenario.nodes}
    for i, clients in enumerate(scenario.sessions):
        _known(clients.service, services, f"/sessions/{i}/service", "service")
        if clients.entry_zone is not None:
            _known(clients.entry_zone, zones, f"/sessions/{i}/entry_zone", "zone")
        count = sum(m.count for m in scenario.nodes)
        for where, places in (("placed", clients.placed), ("pinned", clients.pinned)):
            for handler, nodes in places.items():
                if not nodes or not all(1 <= n <= count for n in nodes):
                    pointer = f"/sessions/{i}/{where}/{handler}"
                    raise ScenarioError(pointer, f"there are nodes 1 to {count}, not {nodes}")


def links_of(way: Way) -> list[tuple[int, int]]:
    """Return the variant's links, a chain where it has none of its own."""
    if way.links is None:
        return [(i, i + 1) for i in range(len(way.handlers) - 1)]
    return [(a, b) for a, b in way.links]


def _check_way(way: Way, kinds: dict[str, Kind], pointer: str) -> None:
    for i, name in enumerate(way.handlers):
        _known(name, set(kinds), f"{pointer}/handlers/{i}", "kind")
    links = links_of(way)
    for i, (a, b) in enumerate(links):
        if not 0 <= a < b < len(way.handlers):
            raise ScenarioError(
                f"{pointer}/links/{i}", f"links lead to a later handler of 0 to {len(way.handlers) - 1}"
            )
    for i, name in enumerate(way.handlers):
        into, wanted = sum(b == i for _, b in links), kinds[name].inputs if i else 0
        if into != wanted:
            raise ScenarioError(f"{pointer}/handlers/{i}", f"{name} has {into} links to it, it takes {wanted}")


def _known(name: str, names: set[str], pointer: str, what: str) -> None:
    if name not in names:
        raise ScenarioError(pointer, f"no {what} {name!r}, only {', '.join(sorted(map(repr, names)))}")


def _unique(pointer: str, names: list[str]) -> None:
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ScenarioError(f"{pointer}/{i}/name", f"{name!r} is there twice")


def as_json(scenario: Scenario) -> Any:
    """Return the scenario as plain values."""
    return msgspec.to_builtins(scenario)
