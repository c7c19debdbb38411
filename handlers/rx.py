"""Rx: the entry of a graph, where frames come in. It hands on what it gets."""

from typing import Any

from handlers.base import Handler, Params


class RxParams(Params, frozen=True):
    """Handler type 1 has no parameters."""


class RxHandler(Handler[RxParams]):
    """any -> any. Its one input is left unconnected, which makes it the graph's entry."""

    params_type = RxParams
    inputs, outputs = (object,), (object,)

    def execute(self, value: Any) -> Any:
        """Return *value*, uncopied."""
        return value
