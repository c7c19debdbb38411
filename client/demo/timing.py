"""Where a frame's time went: handlers and hops, from the result's trace. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from client.results import Result, Step

REST = "rest"


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a frame's way: a handler's work, or a hop to the handler it ends at; s since the epoch."""

    name: str
    start: float
    end: float

    @property
    def ms(self) -> float:
        return (self.end - self.start) * 1000


def parts(result: Result, variant: Mapping[str, Any]) -> list[Part]:
    """Return the handlers and hops of *result*, in order of time; *variant* is the graph as `GET /services` has it.

    A hop lasts from the end of the handler before until the frame is at the next one. Where a handler joins several
    inputs the last one counts; a hop that was over before then is hidden behind other work, and is left out.
    """
    names = {int(h["handler_id"]): str(h["handler_name"]) for h in variant["handlers"]}
    steps = {step.handler_id: step for step in result.trace}
    found = [Part(f"{names.get(i, i)} @{step.node_id}", step.start, step.end) for i, step in steps.items()]
    for target in steps.values():
        sources = [steps[s] for s in _sources(variant, target.handler_id) if s in steps]
        last = max(sources, key=lambda step: step.end, default=None)
        if last is not None and last.node_id != target.node_id and target.received is not None:
            found.append(Part(_hop_name(last, target, names), last.end, target.received))
    return sorted(found, key=lambda part: part.start)


def rest_ms(result: Result, found: Iterable[Part]) -> float:
    """Return how much of the latency, in ms, none of *found* explains: entry, waiting, the result's way back."""
    busy, reached = 0.0, float("-inf")
    for part in sorted(found, key=lambda each: each.start):
        busy += max(0.0, part.end - max(part.start, reached))
        reached = max(reached, part.end)
    return max(0.0, (result.latency_ms or 0.0) - busy * 1000)


def _hop_name(source: Step, target: Step, names: Mapping[int, str]) -> str:
    return f"hop {source.node_id}→{target.node_id} {names.get(target.handler_id, '')}".rstrip()


def _sources(variant: Mapping[str, Any], handler_id: int) -> list[int]:
    return [int(k["source_handler"]) for k in variant["links"] if k["target_handler"] == handler_id]
