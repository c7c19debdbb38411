"""What can be asked for: services with their variants as checked graphs, handler types, node files."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from coordinator.allocation.base import Request, TypeView, Variant
from coordinator.allocation.decide import admissible
from coordinator.records import SessionRecord, replace
from wire import resources
from wire.faults import Fault, SettingsError, guess
from wire.graph import GraphError, Topology
from wire.messages import Graph, HandlerSpec, Objective, SessionRequest
from wire.resources import HandlerTypeSpec, NodeFile, Service, Variation
from wire.settings import CoordinatorSettings
from wire.web import Unprocessable


class Catalogue:
    """Immutable; made from the resource files at start. Raises SettingsError for a graph that cannot run."""

    def __init__(
        self, types: list[HandlerTypeSpec], services: list[Service], nodes: list[NodeFile], path: Path
    ) -> None:
        self.types, self.services, self.nodes = types, services, nodes
        self.ports = resources.port_counts(types)
        self.views = {t.handler_type: _view(t, self.ports) for t in types}
        faults = [f"service {s.service_name}, {e}" for s in services for e in self._graph_faults(s)]
        if faults:
            raise SettingsError(Fault(path, fault) for fault in faults)

    @classmethod
    def load(cls, settings: CoordinatorSettings) -> "Catalogue":
        """Return what the resource files say. Raises SettingsError with the faults of all folders."""
        faults: list[Fault] = []
        found: list[Any] = []
        for load, folder in (
            (resources.load_handler_types, settings.handler_type_path),
            (resources.load_services, settings.service_type_path),
            (resources.load_nodes, settings.node_path),
        ):
            try:
                found.append(load(folder))
            except SettingsError as error:
                faults += error.faults
        if faults:
            raise SettingsError(faults)
        return cls(found[0], found[1], found[2], settings.service_type_path)

    def service(self, name: str | int) -> Service:
        """Return the service of that name or id. Raises Unprocessable."""
        for service in self.services:
            if name in (service.service_name, service.service_id):
                return service
        close = guess(str(name), (s.service_name for s in self.services))
        hint = f"; did you mean {close!r}?" if close else ""
        raise Unprocessable(f"there is no service {name!r}{hint}", pointer="/service")

    def request(self, asked: SessionRequest, *, seed: int) -> Request:
        """Return what the algorithms are asked. Raises Unprocessable for what the service does not have."""
        service = self.service(asked.service)
        named = self._named(service, asked)
        self._check_ids(asked, named)
        objective = asked.objective or Objective()
        variants = admissible([self._variant(v, asked.params) for v in named], objective)
        if not variants:
            raise Unprocessable("no variant is that accurate", pointer="/objective/min_accuracy")
        return Request(
            service=service.service_name,
            variants=variants,
            objective=objective,
            pins=_pins(asked, variants[0].topology.graph.handlers),
            replicas=dict(asked.replicas),
            labels=frozenset(asked.labels),
            entry_node=asked.entry_node,
            rate=objective.min_fps,
            seed=seed,
            explain=True,
        )

    def other_variants(self, asked: SessionRequest, request: Request) -> tuple[Variant, ...]:
        """Return the variants accurate enough that *asked* rules out by naming one."""
        taken = {v.variant_name for v in request.variants}
        others = [v for v in self.service(asked.service).variants if v.variant_name not in taken]
        return admissible([self._variant(v, {}) for v in others], request.objective)

    def request_again(self, session: SessionRecord, asked: SessionRequest, *, seed: int) -> Request:
        """Return what is asked to place a session anew: its own graph, whatever the files say by now."""
        plan = session.plan
        variant = Variant(
            variant_name=session.variant,
            accuracy=plan.predicted.accuracy,
            topology=Topology(plan.graph, self.ports),
        )
        objective = asked.objective or Objective()
        return Request(
            service=session.service,
            variants=(variant,),
            objective=objective,
            pins=_pins(asked, plan.graph.handlers),
            replicas=dict(asked.replicas),
            labels=frozenset(asked.labels),
            entry_node=asked.entry_node,
            rate=objective.min_fps,
            seed=seed,
            explain=True,
        )

    def request_otherwise(self, session: SessionRecord, *, seed: int) -> Request | None:
        """Return what may be asked instead of the session's own variant: the service's others that its objective
        admits. None where the caller named a variant, and where parameters were given for another type of handler.
        """
        asked = session.request
        if asked.variant is not None:
            return None
        try:
            request = self.request(asked, seed=seed)
        except Unprocessable:  # the files are others by now
            return None
        types = {h.handler_id: h.handler_type for h in session.plan.graph.handlers}
        meant = {handler_id: types.get(handler_id) for handler_id in asked.params}
        variants = tuple(v for v in request.variants if v.variant_name != session.variant and _has(v, meant))
        return replace(request, variants=variants) if variants else None

    def check_ids(self, asked: SessionRequest, graph: Graph) -> None:
        """Raise Unprocessable where *asked* names a handler that *graph* lacks, or replicates a stateful one."""
        self._check_ids(asked, [graph])

    def _named(self, service: Service, asked: SessionRequest) -> list[resources.Variant]:
        named = [v for v in service.variants if asked.variant in (None, v.variant_name)]
        if not named:
            names = ", ".join(v.variant_name for v in service.variants)
            detail = f"service {service.service_name} has no variant {asked.variant!r}, only {names}"
            raise Unprocessable(detail, pointer="/variant")
        return named

    def _check_ids(self, asked: SessionRequest, graphs: Iterable[Graph | resources.Variant]) -> None:
        types = {h.handler_id: self.views[h.handler_type] for graph in graphs for h in graph.handlers}
        for member in ("pin", "replicas", "params"):
            for handler_id in getattr(asked, member):
                if handler_id not in types:
                    detail = f"the service has no handler {handler_id}, only {', '.join(map(str, sorted(types)))}"
                    raise Unprocessable(detail, pointer=f"/{member}/{handler_id}")
        for handler_id, view in types.items():
            self._check_replicas(asked, handler_id, view)

    def _check_replicas(self, asked: SessionRequest, handler_id: int, view: TypeView) -> None:
        pins, replicas = asked.pin.get(handler_id), asked.replicas.get(handler_id)
        nodes = pins if isinstance(pins, list) else [] if pins is None else [pins]
        pointer = f"/pin/{handler_id}"
        if pins is not None and (not nodes or len(set(nodes)) != len(nodes)):
            raise Unprocessable("a pin is a node_id or a list of different ones", pointer=pointer)
        if replicas is not None and nodes and replicas > len(nodes):
            raise Unprocessable(f"{replicas} replicas on {len(nodes)} nodes", pointer=f"/replicas/{handler_id}")
        if view.stateful and (replicas or len(nodes)) > 1:
            pointer = f"/replicas/{handler_id}" if replicas else pointer
            raise Unprocessable(f"{view.name} is stateful: it runs on one node", pointer=pointer)

    def _variant(self, variant: resources.Variant, params: Mapping[int, dict[str, Any]]) -> Variant:
        handlers = [replace(h, params=h.params | params.get(h.handler_id, {})) for h in variant.handlers]
        topology = Topology(replace(variant.graph, handlers=handlers), self.ports)
        return Variant(variant_name=variant.variant_name, accuracy=variant.accuracy, topology=topology)

    def _graph_faults(self, service: Service) -> Iterable[str]:
        for variant in service.variants:
            try:
                Topology(variant.graph, self.ports)
            except GraphError as error:
                yield f"variant {variant.variant_name}: {error}"


def _has(variant: Variant, types: Mapping[int, int | None]) -> bool:
    """Return True when those handlers are of those types."""
    handlers = variant.topology.handlers
    return all(h in handlers and handlers[h].handler_type == kind for h, kind in types.items())


def _pins(asked: SessionRequest, handlers: list[HandlerSpec]) -> dict[int, tuple[int, ...]]:
    """Return the pins of the service file, overridden by the caller's."""
    pins = {h.handler_id: (h.node_id,) for h in handlers if h.node_id is not None}
    return pins | {h: tuple(n) if isinstance(n, list) else (n,) for h, n in asked.pin.items()}


def _view(spec: HandlerTypeSpec, ports: Mapping[int, tuple[int, int]]) -> TypeView:
    profile = spec.profile
    plain = TypeView(
        handler_type=spec.handler_type,
        name=spec.name,
        stateful=spec.stateful or ports[spec.handler_type][0] == 0,  # a source makes each frame once
        service_ms=profile.ms or None,
        memory_mib=profile.mem_mb or None,
        gpu_memory_mib=profile.gpu_mb,
        load_ms=profile.load_ms,
        outputs=tuple(spec.outputs),
        output_bytes=tuple(profile.output_bytes),
    )
    return replace(plain, variations=tuple((v.params, _varied(plain, v)) for v in profile.variations))


def _varied(plain: TypeView, variation: Variation) -> TypeView:
    """Return the type with the figures that *variation* has."""
    return replace(
        plain,
        service_ms=variation.ms or plain.service_ms,
        memory_mib=variation.mem_mb or plain.memory_mib,
        output_bytes=tuple(variation.output_bytes) or plain.output_bytes,
    )
