"""Resource files: nodes, handler types and services, one JSON document each, read into structs.

A file that cannot be read, is no JSON or has wrong content is a fault with its name; none is skipped.
"""

from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from wire.faults import Fault, SettingsError
from wire.messages import Body, Graph, HandlerSpec, Id, Link, ResultSpec
from wire.older import OlderService, to_graph

Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[\w.-]+$")]
ClassName = Annotated[str, Meta(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
Port = Annotated[int, Meta(ge=0, le=65535)]
PortType = Annotated[str, Meta(pattern=r"^(Image|Encoded|Boxes|any)$")]
T = TypeVar("T")


class NodeFile(Body, frozen=True, kw_only=True):
    """config/nodes/*.json: a node that is known before it was heard."""

    node_id: Id
    node_name: Name
    node_type: str = ""
    node_addr: str
    node_port: Port = 9000
    data_port: Port = 9100
    labels: list[str] = []


Amount = Annotated[float, Meta(ge=0)]
Bytes = Annotated[int, Meta(ge=0)]


class Variation(Body, frozen=True, kw_only=True):
    """What a handler is thought to cost with other parameters than its type's: those that have all of `params`."""

    params: Annotated[dict[str, Any], Meta(min_length=1)]
    ms: Amount = 0.0
    mem_mb: Amount = 0.0
    output_bytes: list[Bytes] = []


class Profile(Body, frozen=True, kw_only=True):
    """What a handler is thought to cost before it was measured here. `scripts/profile` writes it."""

    ms: Amount = 0.0  # service time of one VGA frame on one core
    cpu_ms: Amount | None = None  # CPU of one VGA frame, all threads
    ms_by_size: dict[str, Amount | None] = {}  # "640x480" -> ms; None: frames of that size are refused
    load_ms: Amount | None = None  # from the process's start to the first frame
    gpu_mb: Amount | None = None  # memory of a GPU, for a handler with the parameter "gpu"
    loaded_mb: Amount | None = None  # memory before the first frame
    mem_mb: Amount = 0.0  # after VGA frames
    output_bytes: list[Bytes] = []  # of a VGA frame at each output; else by the output's type
    variations: list[Variation] = []  # the last one that fits counts
    date: str = ""  # of the measurement, and where it was made
    machine: str = ""


class HandlerTypeSpec(Body, frozen=True, kw_only=True, rename={"class_name": "class"}):
    """config/handlers/*.json: a handler type; `class_name` is the member "class"."""

    handler_type: Id
    name: Name
    class_name: ClassName
    inputs: list[PortType] = []
    outputs: list[PortType] = []
    params: dict[str, Any] = {}  # what a service's own params are laid over
    stateful: bool = False
    profile: Profile = Profile()


Share = Annotated[float, Meta(ge=0, le=1)]


class Evidence(Body, frozen=True, kw_only=True):
    """What a variant's accuracy rests on. `scripts/profile` writes it."""

    data: str  # the labelled pictures
    recall: Share | None = None  # of faces
    precision: Share | None = None
    pair_accuracy: Share | None = None  # pairs of faces told right at the recognizer's threshold
    nearest: Share | None = None  # faces whose nearest other face is the same person's
    people_found: int | None = None  # where nothing is labelled: a count
    date: str
    machine: str


class VariantCost(Body, frozen=True, kw_only=True):
    """What a frame costs on one node, from the post to the answer. `scripts/profile` writes it."""

    latency_ms: Amount  # median
    cpu_ms: Amount  # of all processes of handlers
    mem_mb: Amount  # likewise
    date: str
    machine: str


class Variant(Body, frozen=True, kw_only=True):
    """One way to do a service."""

    variant_name: Name
    accuracy: Share | None = None
    accuracy_by: Evidence | None = None
    profile: VariantCost | None = None
    handlers: Annotated[list[HandlerSpec], Meta(min_length=1)]
    links: list[Link] = []
    results: list[ResultSpec] = []

    @property
    def graph(self) -> Graph:
        """The variant as a graph."""
        return Graph(handlers=self.handlers, links=self.links, results=self.results)


class Service(Body, frozen=True, kw_only=True):
    """config/services/*.json: a named job and its variants, the preferred one first."""

    service_id: Id
    service_name: Name
    description: str = ""
    variants: Annotated[list[Variant], Meta(min_length=1)]


def load_nodes(folder: Path) -> list[NodeFile]:
    """Return the nodes of *folder* by id. Raises SettingsError."""
    found = _load(folder, lambda data: msgspec.json.decode(data, type=NodeFile))
    return _unique(found, ("node_id", "node_name"))


def load_handler_types(folder: Path) -> list[HandlerTypeSpec]:
    """Return the handler types of *folder* by id. Raises SettingsError."""
    found = _load(folder, lambda data: msgspec.json.decode(data, type=HandlerTypeSpec))
    return _unique(found, ("handler_type", "name"))


def load_services(folder: Path) -> list[Service]:
    """Return the services of *folder* by id, those in the older form converted. Raises SettingsError."""
    return _unique(_load(folder, _service), ("service_id", "service_name"))


def port_counts(types: Iterable[HandlerTypeSpec]) -> dict[int, tuple[int, int]]:
    """Return handler_type -> (number of inputs, of outputs), as wire.graph.Topology wants it."""
    return {spec.handler_type: (len(spec.inputs), len(spec.outputs)) for spec in types}


def _service(data: bytes) -> Service:
    document = msgspec.json.decode(data)
    if not (isinstance(document, dict) and "template" in document):
        return msgspec.convert(document, type=Service)
    older = msgspec.convert(document, type=OlderService)
    graph = to_graph(older.template)
    variant = Variant(variant_name="template", handlers=graph.handlers, links=graph.links)
    return Service(
        service_id=older.service_id,
        service_name=older.service_name,
        description=older.description,
        variants=[variant],
    )


def _load(folder: Path, read: Callable[[bytes], T]) -> list[tuple[Path, T]]:
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except OSError as error:
        raise SettingsError([Fault(folder, f"cannot be read: {error.strerror}")]) from error
    found, faults = [], []
    for file in files:
        try:
            found.append((file, read(file.read_bytes())))
        except OSError as error:
            faults.append(Fault(file, f"cannot be read: {error.strerror}"))
        except msgspec.ValidationError as error:
            faults.append(Fault(file, str(error)))
        except (ValueError, RecursionError) as error:  # msgspec.DecodeError is a ValueError; so is a bad template
            faults.append(Fault(file, f"is no JSON document: {error}"))
    if faults:
        raise SettingsError(faults)
    return found


def _unique(found: list[tuple[Path, T]], keys: tuple[str, ...]) -> list[T]:
    """Return what was found, sorted by the first of *keys*. Raises SettingsError where two files share a key."""
    taken: dict[Hashable, Path] = {}
    faults = []
    for file, item in found:
        for key in keys:
            value = getattr(item, key)
            if (key, value) in taken:
                faults.append(Fault(file, f"{key} {value!r} is that of {taken[key, value].name} too"))
            taken.setdefault((key, value), file)
    if faults:
        raise SettingsError(faults)
    return sorted((item for _, item in found), key=lambda item: int(getattr(item, keys[0])))
