"""What there is to measure, in order: parts, each with the key that its figures are kept by."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from benchmarks.cluster import Cluster
from benchmarks.common import ROOT
from benchmarks.profile import accuracy, costs, system
from benchmarks.profile.accuracy import STREET_SERVICES, Pictures, Step
from benchmarks.profile.reference import REFERENCES, trial_key
from benchmarks.profile.types import Types
from benchmarks.profile.variants import RECOGNITION, full_params, pixel_limit, variations
from client.errors import Refused
from wire.resources import HandlerTypeSpec, Service, Variant, load_handler_types, load_services

DETECTOR = 1  # handler_id of the detector in all shipped variants
DETECTION = "face_detection"


@dataclass(frozen=True)
class Part:
    """One thing to measure."""

    key: str
    steps: int  # how often it says that it got on
    run: Callable[[Step], dict[str, Any]]


@dataclass
class Bench:
    """What the parts are measured with, started when the first needs it."""

    stack: ExitStack
    pictures: Pictures
    quick: bool
    types: dict[int, HandlerTypeSpec] = field(
        default_factory=lambda: {t.handler_type: t for t in load_handler_types(ROOT / "config" / "handlers")}
    )
    services: list[Service] = field(default_factory=lambda: load_services(ROOT / "config" / "services"))

    @cached_property
    def cluster(self) -> Cluster:
        """The running system."""
        return self.stack.enter_context(system.running())

    @cached_property
    def processes(self) -> Types:
        """What measures handler types."""
        made = Types(quick=self.quick)
        self.stack.callback(made.close)
        return made


def speed(bench: Bench, handlers: Iterable[int], services: Iterable[str]) -> Iterator[Part]:
    """Yield the costs of handler types and of variants ("service", or "service/variant")."""
    for number in handlers:
        yield _type_part(bench, bench.types[number])
    for service, variant in _named(bench, services):
        yield _cost_part(bench, service, variant.variant_name)


def trials(bench: Bench, services: Iterable[str]) -> Iterator[Part]:
    """Yield the accuracy of variants, and, with all of face detection, of detectors as the references had them."""
    wanted = list(services)
    for service, variant in _named(bench, wanted):
        if bench.pictures.of_service(service):
            yield _trial_part(bench, service, variant)
    if DETECTION in wanted:
        for reference in REFERENCES:
            if reference.params:
                yield _reference_part(bench, reference.variant, dict(reference.params))


def _named(bench: Bench, names: Iterable[str]) -> Iterator[tuple[str, Variant]]:
    """Yield the variants named ("service", or "service/variant") to which clients post pictures, by service."""
    wanted = set(names)
    for service in bench.services:
        for variant in service.variants:
            named = {service.service_name, f"{service.service_name}/{variant.variant_name}"} & wanted
            if named and _takes_pictures(bench, variant):
                yield service.service_name, variant


def _takes_pictures(bench: Bench, variant: Variant) -> bool:
    """Return whether clients post its frames: no handler of it makes them."""
    return all(bench.types[h.handler_type].inputs for h in variant.handlers)


def _type_part(bench: Bench, spec: HandlerTypeSpec) -> Part:
    def run(step: Step) -> dict[str, Any]:
        found = bench.processes.cost(spec, variations(spec.handler_type, bench.services))
        step()
        return found

    return Part(f"handler {spec.handler_type}", 1, run)


def _cost_part(bench: Bench, service: str, variant: str) -> Part:
    def run(step: Step) -> dict[str, Any]:
        return _unless_refused(lambda: costs.cost(bench.cluster, service, variant, step, quick=bench.quick))

    return Part(f"cost {service}/{variant}", 1, run)


def _trial_part(bench: Bench, service: str, variant: Variant) -> Part:
    name, on = variant.variant_name, bench.pictures

    def run(step: Step) -> dict[str, Any]:
        if service in STREET_SERVICES:
            return accuracy.counts(bench.cluster, service, name, on, step)
        found = accuracy.detection(bench.cluster, service, name, {}, on, step)
        if service == RECOGNITION:
            thresh = next(p["thresh"] for h, p in full_params(variant, bench.types) if "gallery" in p)
            limit = pixel_limit(variant, bench.types)
            found |= accuracy.recognition(bench.cluster, name, thresh, limit, on, step)
        return found

    steps = on.of_service(service)
    return Part(trial_key(service, name, {}), steps, lambda step: _unless_refused(lambda: run(step)))


def _reference_part(bench: Bench, variant: str, params: dict[str, Any]) -> Part:
    def run(step: Step) -> dict[str, Any]:
        return accuracy.detection(bench.cluster, DETECTION, variant, {DETECTOR: params}, bench.pictures, step)

    steps = len(bench.pictures.photos)
    return Part(trial_key(DETECTION, variant, params), steps, lambda step: _unless_refused(lambda: run(step)))


def _unless_refused(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the figures, or {"unavailable": reason} where the coordinator makes no such session."""
    try:
        return run()
    except Refused as error:
        return {"unavailable": str(error)}
