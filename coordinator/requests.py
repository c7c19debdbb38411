"""Bodies that only the coordinator takes."""

from typing import Annotated

from msgspec import Meta

from coordinator.records import replace
from wire.messages import Body, Id, Objective, SessionRequest


class Reallocation(Body, frozen=True, kw_only=True):
    """POST /sessions/<id>/reallocate: what is to be different; the rest stays as the session was asked for."""

    algorithm: str | None = None
    objective: Objective | None = None
    pin: dict[Id, int | list[int]] | None = None
    replicas: dict[Id, Annotated[int, Meta(ge=1, le=64)]] | None = None

    def over(self, asked: SessionRequest) -> SessionRequest:
        """Return *asked* with what this changes; a handler pinned anew loses its former number of replicas."""
        pin, replicas = dict(asked.pin), dict(asked.replicas)
        for handler_id in self.pin or {}:
            replicas.pop(handler_id, None)
        return replace(
            asked,
            algorithm=self.algorithm or asked.algorithm,
            objective=self.objective or asked.objective,
            pin=pin | (self.pin or {}),
            replicas=replicas | (self.replicas or {}),
        )
