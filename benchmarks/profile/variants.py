"""The shipped variants: which handlers lead to a result, and the graph that shows a recognizer's vectors. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

from wire.messages import HandlerSpec, Link, ResultSpec
from wire.resources import HandlerTypeSpec, Service, Variant

VECTORS = 903  # handler type of benchmarks/config/handlers
RECOGNITION = "face_recognition"
SHOWN = f"{RECOGNITION}_vectors"
SAME_COST = frozenset({"targets", "source"})  # parameters that make no difference to what a frame costs


def main_result(variant: Variant) -> ResultSpec:
    """Return the result that every frame has."""
    return next(r for r in variant.results if not r.on_demand)


def upstream(variant: Variant, handler_id: int) -> list[HandlerSpec]:
    """Return the handlers that *handler_id* gets its data from, and itself, in the variant's order."""
    wanted = {handler_id}
    while more := {k.source_handler for k in variant.links if k.target_handler in wanted} - wanted:
        wanted |= more
    return [h for h in variant.handlers if h.handler_id in wanted]


def showing_vectors(variant: Variant) -> Variant:
    """Return *variant* without drawing, with a handler at its end that makes the vectors visible."""
    end = main_result(variant).handler_id
    kept = upstream(variant, end)
    ids = {h.handler_id for h in kept}
    last = max(ids) + 1
    links = [k for k in variant.links if k.source_handler in ids and k.target_handler in ids]
    return Variant(
        variant_name=variant.variant_name,
        handlers=[*kept, HandlerSpec(handler_id=last, handler_name="show", handler_type=VECTORS)],
        links=[*links, Link(source_handler=end, target_handler=last)],
        results=[ResultSpec(handler_id=last)],
    )


def showing_service(recognition: Service) -> Service:
    """Return the service of recognition with all vectors visible."""
    made = [showing_vectors(v) for v in recognition.variants]
    return Service(service_id=980, service_name=SHOWN, variants=made)


def full_params(variant: Variant, types: dict[int, HandlerTypeSpec]) -> Iterable[tuple[HandlerSpec, dict[str, Any]]]:
    """Yield the handlers that lead to the result, each with all its parameters."""
    for handler in upstream(variant, main_result(variant).handler_id):
        yield handler, types[handler.handler_type].params | handler.params


def pixel_limit(variant: Variant, types: dict[int, HandlerTypeSpec]) -> int | None:
    """Return how many pixels the strictest handler behind the decoder takes; None: as many as the decoder."""
    limits = [p["max_pixels"] for h, p in full_params(variant, types) if h.handler_type != 6 and "max_pixels" in p]
    return min(limits, default=None)


def variations(handler_type: int, services: Sequence[Service]) -> list[dict[str, Any]]:
    """Return the parameters that shipped variants give a type and that change what a frame costs, each set once."""
    found: list[dict[str, Any]] = []
    for service in services:
        for variant in service.variants:
            for handler in variant.handlers:
                params = {k: v for k, v in handler.params.items() if k not in SAME_COST}
                if handler.handler_type == handler_type and params and params not in found:
                    found.append(params)
    return found
