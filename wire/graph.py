"""What a graph means: order, entry, exits, and which links a frame needs. Pure; used by coordinator and node."""

from collections.abc import Iterable, Mapping
from functools import cached_property

from wire.messages import Graph, HandlerSpec, Link, ResultSpec


class GraphError(ValueError):
    """A graph that cannot run; the message names the handler."""


class Topology:
    """A checked graph with the counts of each handler's inputs and outputs.

    ports: handler_type -> (number of inputs, number of outputs). Raises GraphError.
    """

    def __init__(self, graph: Graph, ports: Mapping[int, tuple[int, int]]) -> None:
        self.graph = graph
        self.handlers: dict[int, HandlerSpec] = {}
        for handler in graph.handlers:
            if handler.handler_id in self.handlers:
                raise GraphError(f"handler {handler.handler_id} is there twice")
            if handler.handler_type not in ports:
                raise GraphError(f"handler {handler.handler_id}: no handler type {handler.handler_type}")
            self.handlers[handler.handler_id] = handler
        if not self.handlers:
            raise GraphError("the graph has no handlers")
        self._ports = {h.handler_id: ports[h.handler_type] for h in graph.handlers}
        self._check_links()
        self.order = self._sorted()
        self.entry = self._entry()

    def inputs(self, handler_id: int) -> int:
        return self._ports[handler_id][0]

    def outputs(self, handler_id: int) -> int:
        return self._ports[handler_id][1]

    def links_from(self, handler_id: int) -> list[Link]:
        return [k for k in self.graph.links if k.source_handler == handler_id]

    def links_to(self, handler_id: int) -> list[Link]:
        return [k for k in self.graph.links if k.target_handler == handler_id]

    @property
    def has_source(self) -> bool:
        """True when the entry handler makes the frames itself (no inputs)."""
        return self.inputs(self.entry) == 0

    def _check_links(self) -> None:
        taken: set[tuple[int, int]] = set()
        for link in self.graph.links:
            for end in (link.source_handler, link.target_handler):
                if end not in self.handlers:
                    raise GraphError(f"a link names handler {end}, which is not in the graph")
            if link.source_output >= self.outputs(link.source_handler):
                raise GraphError(f"handler {link.source_handler} has no output {link.source_output}")
            if link.target_input >= self.inputs(link.target_handler):
                raise GraphError(f"handler {link.target_handler} has no input {link.target_input}")
            port = (link.target_handler, link.target_input)
            if port in taken:
                raise GraphError(f"input {link.target_input} of handler {link.target_handler} has two links")
            taken.add(port)
        for result in self.graph.results:
            if result.handler_id not in self.handlers or result.output >= self.outputs(result.handler_id):
                raise GraphError(
                    f"results name output {result.output} of handler {result.handler_id}, which is not there"
                )

    def _sorted(self) -> list[int]:
        """Return the handler ids in topological order, stable in file order (Kahn 1962)."""
        missing = {h: len({k.source_handler for k in self.links_to(h)}) for h in self.handlers}
        ready, order = [h for h, n in missing.items() if n == 0], []
        while ready:
            handler = ready.pop(0)
            order.append(handler)
            for target in dict.fromkeys(k.target_handler for k in self.links_from(handler)):
                missing[target] -= 1
                if missing[target] == 0:
                    ready.append(target)
        if len(order) != len(self.handlers):
            raise GraphError(f"handlers {sorted(set(self.handlers) - set(order))} form a cycle")
        return order

    def _entry(self) -> int:
        """Return the one handler where frames come in: a source, or the one with an unconnected input."""
        connected = {(k.target_handler, k.target_input) for k in self.graph.links}
        open_inputs = [(h, i) for h in self.order for i in range(self.inputs(h)) if (h, i) not in connected]
        sources = [h for h in self.order if self.inputs(h) == 0]
        entries = sources + [h for h, _ in open_inputs]
        if not entries:
            raise GraphError("no entry: every input is connected")
        if len(entries) > 1:
            names = ", ".join(f"handler {h}" for h in entries)
            raise GraphError(f"more than one entry: {names} (connect the inputs, or split the service)")
        return entries[0]

    @cached_property
    def entry_input(self) -> int:
        """The entry handler's unconnected input (0 for a source)."""
        connected = {k.target_input for k in self.links_to(self.entry)}
        return next((i for i in range(self.inputs(self.entry)) if i not in connected), 0)

    @cached_property
    def always(self) -> tuple[int, ...]:
        """The handlers, in order, that every frame passes: those that lead to an exit not on demand."""
        needed = {e.handler_id for e in self.exits if not e.on_demand}
        for handler in reversed(self.order):
            if any(k.target_handler in needed for k in self.links_from(handler)):
                needed.add(handler)
        return tuple(h for h in self.order if h in needed)

    @cached_property
    def exits(self) -> list[ResultSpec]:
        """Outputs that make the result: those named in `results` and the unconnected ones, without repeats.

        A handler without outputs (a sink: tx, render) is an exit too, as output 0: it reports an empty part, so
        that the entry knows when the frame is through.
        """
        exits = {(r.handler_id, r.output): r for r in self.graph.results}
        connected = {(k.source_handler, k.source_output) for k in self.graph.links}
        for handler in self.order:
            for output in range(max(1, self.outputs(handler))):
                port = (handler, output)
                if port not in connected and port not in exits:
                    exits[port] = ResultSpec(handler_id=handler, output=output)
        return list(exits.values())

    def needed_by(self, link: Link) -> list[ResultSpec]:
        """Return the exits that *link* leads to."""
        reach, todo = set(), [link.target_handler]
        while todo:
            handler = todo.pop()
            if handler not in reach:
                reach.add(handler)
                todo += [k.target_handler for k in self.links_from(handler)]
        return [e for e in self.exits if e.handler_id in reach]


def wanted(exits: Iterable[ResultSpec], want: Iterable[tuple[int, int]]) -> bool:
    """Return True when a frame that wants the on-demand exits *want* needs any of *exits*."""
    asked = set(want)
    return any(not e.on_demand or (e.handler_id, e.output) in asked for e in exits)
