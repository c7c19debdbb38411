"""Where a frame's time went: handlers and hops, from the result's trace. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from client.results import Result, Step


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a frame's way, in ms: a handler's work, or a hop to the handler it ends at."""

    name: str
    ms: float


def parts(result: Result, variant: Mapping[str, Any]) -> list[Part]:
    """Return the handlers and hops of *result*, in order of time; *variant* is the graph as `GET /services` has it."""
    steps = {step.handler_id: step for step in result.trace}
    names = {int(h["handler_id"]): str(h["handler_name"]) for h in variant["handlers"]}
    found = [(step.start, Part(f"{names.get(i, str(i))} @{step.node_id}", step.busy_ms)) for i, step in steps.items()]
    for target in steps.values():
        sources = [steps[s] for s in _sources(variant, target.handler_id) if s in steps]
        far = [source for source in sources if source.node_id != target.node_id]
        if far and target.received is not None:
            found.append((target.received, _hop(far, target, names)))
    return [part for _, part in sorted(found, key=lambda each: each[0])]


def _hop(sources: Sequence[Step], target: Step, names: Mapping[int, str]) -> Part:
    """Return the hop to *target*: from the end of its last source on another node until the frame was there."""
    last = max(sources, key=lambda step: step.end)
    name = f"hop {last.node_id}→{target.node_id} {names.get(target.handler_id, '')}".rstrip()
    return Part(name, ((target.received or last.end) - last.end) * 1000)


def _sources(variant: Mapping[str, Any], handler_id: int) -> list[int]:
    return [int(k["source_handler"]) for k in variant["links"] if k["target_handler"] == handler_id]
