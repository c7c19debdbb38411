"""Where a handler's outputs go, worked out once per plan. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from wire.graph import GraphError, Topology, wanted
from wire.messages import Encoding, Link, ResultSpec, Route, SessionPlan
from wire.packet import Header


@dataclass(frozen=True, slots=True)
class Target:
    """One link's far end: the input of a handler, on one of several nodes, under the plan of an epoch."""

    handler_id: int
    port: int
    inputs: int  # of that handler
    replicas: tuple[Route, ...]
    encoding: Encoding
    exits: tuple[ResultSpec, ...]  # what the link leads to
    epoch: int

    def needed(self, header: Header) -> bool:
        """Return True when this frame must take the link."""
        return wanted(self.exits, header.want)

    def replica(self, sequence: int) -> Route:
        """Return the replica for *sequence* by the rule that all senders share, so that joins meet."""
        return self.replicas[sequence % len(self.replicas)]


@dataclass(frozen=True, slots=True)
class Output:
    """What happens to one output of the handler."""

    targets: tuple[Target, ...]
    exit: ResultSpec | None  # it is part of the session's result


class Routing:
    """A handler's outputs under one plan."""

    def __init__(self, plan: SessionPlan, handler_id: int, ports: Mapping[int, tuple[int, int]]) -> None:
        topology = Topology(plan.graph, ports)
        self.plan = plan
        self.inputs = topology.inputs(handler_id)
        self.is_source = self.inputs == 0
        exits = {(e.handler_id, e.output): e for e in plan.results or topology.exits}
        self.outputs = tuple(
            Output(
                tuple(_target(plan, topology, k) for k in topology.links_from(handler_id) if k.source_output == number),
                exits.get((handler_id, number)),
            )
            for number in range(max(1, topology.outputs(handler_id)))
        )
        reached = [e for o in self.outputs for e in (*(x for t in o.targets for x in t.exits), o.exit) if e is not None]
        targets = [t for o in self.outputs for t in o.targets]
        self.ways = (
            plan.window, plan.entry.node_id, plan.entry.url, *((t.handler_id, t.port, t.replicas) for t in targets)
        )  # where packets go  # fmt: skip
        self.on_demand = all(e.on_demand for e in reached)  # frames that want none of these never come here


def targets_of(plan: SessionPlan, topology: Topology, handler_id: int) -> tuple[Target, ...]:
    """Return the far ends of all links from *handler_id*."""
    return tuple(_target(plan, topology, k) for k in topology.links_from(handler_id))


def replicas_of(plan: SessionPlan, handler_id: int) -> tuple[Route, ...]:
    """Return where *handler_id* runs. Raises GraphError when the plan does not say."""
    replicas = tuple(plan.routes.get(handler_id, ()))
    if not replicas:
        raise GraphError(f"handler {handler_id} has no route")
    return replicas


def _target(plan: SessionPlan, topology: Topology, link: Link) -> Target:
    return Target(
        link.target_handler,
        link.target_input,
        topology.inputs(link.target_handler),
        replicas_of(plan, link.target_handler),
        link.encoding,
        tuple(topology.needed_by(link)),
        plan.epoch,
    )
