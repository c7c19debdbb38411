"""msgspec's knowledge of our types, made before there are threads.

msgspec (0.22) learns a struct's fields when the struct is first decoded, and shows other threads what it has learnt by
half: two that decode the same type for the first time at once crash the process. So every process that has threads
calls `learn` first, when its modules are imported.
"""

import contextlib
from collections.abc import Iterator

import msgspec
from msgspec import Struct


def learn() -> None:
    """Have msgspec learn all structs that are defined by now; those that it knows already cost nothing much."""
    for kind in _below(Struct):
        with contextlib.suppress(TypeError):  # one with fields that no message can hold: it is never decoded
            msgspec.json.Decoder(kind)


def _below(kind: type[Struct]) -> Iterator[type[Struct]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)
