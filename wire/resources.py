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


class Profile(Body, frozen=True, kw_only=True):
    """What a handler is thought to cost before it was measured."""

    ms: Annotated[float, Meta(ge=0)] = 0.0  # service time of one VGA frame on one core
    mem_mb: Annotated[float, Meta(ge=0)] = 0.0
    output_bytes: list[Annotated[int, Meta(ge=0)]] = []  # of a frame at each output; else by the output's type


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


class Variant(Body, frozen=True, kw_only=True):
    """One way to do a service."""

    variant_name: Name
    accuracy: Annotated[float, Meta(ge=0, le=1)] | None = None
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
