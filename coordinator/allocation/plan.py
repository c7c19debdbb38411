"""A placement in the making: what an algorithm asks and writes while it decides. Local to one allocate()."""

from collections.abc import Callable, Sequence

from coordinator.allocation import feasibility
from coordinator.allocation.base import Decision, Explanation, Placement, Request, Snapshot, Unplaceable, Variant
from coordinator.allocation.predict import predict, service_ms


class Plan:
    """Handlers are put one by one, in graph order; the plan keeps loads, memory and the explanation."""

    def __init__(
        self, request: Request, variant: Variant, snapshot: Snapshot, current: Placement | None = None
    ) -> None:
        self.request, self.variant, self.snapshot, self.current = request, variant, snapshot, current
        self.order: list[int] = variant.topology.order
        self.previous_node: int | None = request.entry_node
        self._nodes: dict[int, tuple[int, ...]] = {}
        self._explanation: list[Explanation] = []
        self._reserved: dict[int, float] = {}  # node_id -> MiB put there by this plan
        self._gpus: dict[int, list[float]] = {}  # node_id -> MiB of a GPU that each handler put there wants
        self._added: dict[int, float] = {}  # node_id -> % CPU put there by this plan

    def feasible(self, handler_id: int) -> list[int]:
        """Return the nodes that may run the handler, by node_id. Raises Unplaceable with a reason per node."""
        return feasibility.fits(
            self.variant, self.request, self.snapshot, self.current, handler_id, self._reserved, self._gpus
        )

    def load(self, node_id: int) -> float:
        """Return the node's load in %, 0-100 and above, with what this plan has put there."""
        return self.snapshot.nodes[node_id].cpu_util + self._added.get(node_id, 0.0)

    def choose(self, handler_id: int, fits: Sequence[int], key: Callable[[int], object]) -> tuple[int, ...]:
        """Return as many of *fits* as the request wants replicas, the smallest by *key* first."""
        return tuple(sorted(fits, key=key)[: self.request.count(handler_id)])  # type: ignore[arg-type]

    def put(self, handler_id: int, nodes: Sequence[int], why: str, others: Callable[[int], str]) -> None:
        """Place the handler. *others* says of a feasible node that was not taken why not."""
        handler = self.variant.topology.handlers[handler_id]
        view = self.snapshot.types.get(handler.handler_type)
        self._explanation.append(
            Explanation(
                handler_id=handler_id,
                handler_type=handler.handler_type,
                name=handler.handler_name or (view.name if view else ""),
                nodes=tuple(nodes),
                why=why,
                others={
                    n: self._refusal(handler_id, n) or others(n) for n in sorted(self.snapshot.nodes) if n not in nodes
                },
            )
        )
        for node_id in nodes:
            self._reserve(handler_id, node_id, len(nodes))
        self._nodes[handler_id] = tuple(nodes)
        self.previous_node = nodes[0]

    def decision(self) -> Decision:
        """Return what was put. Raises Unplaceable when a handler was left out or the entry node is not there."""
        missing = [h for h in self.order if h not in self._nodes]
        if missing:
            raise Unplaceable(f"handlers {missing} were not placed", {}, missing[0])
        placement = Placement(nodes=self._nodes, entry_node=self._entry_node())
        return Decision(
            variant=self.variant,
            placement=placement,
            predicted=predict(self.variant, placement, self.snapshot, self.request),
            explanation=tuple(self._explanation),
        )

    def _entry_node(self) -> int:
        if self.request.entry_node is not None:
            return self.request.entry_node
        nodes = self._nodes[self.variant.topology.entry]
        if self.current is not None and self.current.entry_node in nodes:
            return self.current.entry_node
        return nodes[0]

    def _refusal(self, handler_id: int, node_id: int) -> str | None:
        handler, node = self.variant.topology.handlers[handler_id], self.snapshot.nodes[node_id]
        left, gpus = self._reserved.get(node_id, 0.0), self._gpus.get(node_id, ())
        return feasibility.reason(handler, node, self.request, self.snapshot, self.current, left, gpus)

    def _reserve(self, handler_id: int, node_id: int, replicas: int) -> None:
        """Count memory and CPU. A session keeps one core busy, shared by service time; with a rate, rate x time."""
        handler, node = self.variant.topology.handlers[handler_id], self.snapshot.nodes[node_id]
        if not feasibility.stays(handler_id, node_id, self.current):
            self._reserved[node_id] = self._reserved.get(node_id, 0.0) + feasibility.memory_mib(handler, self.snapshot)
            self._gpus.setdefault(node_id, []).append(feasibility.gpu_mib(handler, self.snapshot) or 0.0)
        own = service_ms(handler, node_id, self.snapshot)[0]
        if self.request.rate is not None:
            cores = self.request.rate * own / 1000
        else:
            whole = sum(service_ms(h, node_id, self.snapshot)[0] for h in self.variant.topology.handlers.values())
            cores = own / whole if whole else 1 / len(self.order)
        self._added[node_id] = self._added.get(node_id, 0.0) + 100 * cores / replicas / max(1, node.cpus)
