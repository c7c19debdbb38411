"""Handler types that do nothing: what is left is the product's own cost. Named by benchmarks/config/handlers only."""

from handlers.base import Handler, Params
from handlers.types import Encoded


class EchoHandler(Handler[Params]):
    """Encoded -> Encoded: gives what it gets."""

    inputs, outputs = (Encoded,), (Encoded,)

    def execute(self, encoded: Encoded) -> Encoded:
        """Return *encoded*; its bytes stay where they are until they are sent."""
        return encoded


class SinkHandler(Handler[Params]):
    """Encoded -> nothing: the end of a chain, which only says that the frame is through."""

    inputs, outputs = (Encoded,), ()

    def execute(self, encoded: Encoded) -> None:
        """Let go of *encoded*."""
