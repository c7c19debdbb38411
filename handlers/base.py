"""The plug-in interface of a handler type.

A handler is made, prepared (models loaded, warmed up), executed once per frame and finished, all in one thread of
a process of its own. `config/handlers/*.json` names its class as "module:Class".
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Struct

from handlers.types import Image
from wire.tx_targets import TxTarget


def Range(low: float, high: float) -> Meta:
    """Bounds of a parameter, both included."""
    return Meta(ge=low, le=high)


class Params(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of a handler's parameters: defaults and bounds are the struct's own."""


class FrameError(Exception):
    """This frame cannot be handled (its own fault); the result is `failed` and the handler lives on."""


class EndOfSource(Exception):
    """The source has no more frames."""


class Unavailable(Exception):
    """This handler type cannot run here; the message is the reason, for people."""


def stranger(url: str) -> TxTarget | None:
    """Return None: nothing is shown to anybody."""
    return None


@dataclass(frozen=True, slots=True)
class Context:
    """What a handler may know of where it runs. Paths are absolute."""

    model_path: Path
    gallery_path: Path | None = None
    node_id: int = 0
    session_id: int = 0
    handler_id: int = 0
    allowed_hosts: frozenset[str] | None = None  # that handlers may reach by URLs (handlers.hosts); None: all
    source_path: tuple[Path, ...] | None = None  # folders of the files that capture may read; None: all
    cache_path: Path | None = None  # for what can be computed again; None: a folder in model_path
    tx_target: Callable[[str], TxTarget | None] = stranger  # what to show to whom is posted to, as of now


def plain_memory(shape: tuple[int, int, int], port: int) -> Image:
    """Return memory of this process for a picture, uint8, not set."""
    return np.empty(shape, np.uint8)


P = TypeVar("P", bound=Params)


class Handler(Generic[P]):
    """Base of handlers: `execute` takes one value per input and returns one per output (a tuple for several).

    Returning None ends the frame here (status `ok`, `ended_by`); raising FrameError fails the frame.
    """

    params_type: ClassVar[type[Params]] = Params
    inputs: ClassVar[tuple[Any, ...]] = ()
    outputs: ClassVar[tuple[Any, ...]] = ()
    stateful: ClassVar[bool] = False  # results depend on earlier frames: cannot be replicated
    max_batch: ClassVar[int] = 1  # above 1: execute_batch is called with up to so many frames, of those that wait

    def __init__(self, params: P, context: Context) -> None:
        self.params = params
        self.context = context
        self.allocate: Callable[[tuple[int, int, int], int], Image] = plain_memory  # the worker puts its own here

    def prepare(self) -> None:
        """Load models and warm up. Raises Unavailable when something is missing."""

    def execute(self, *inputs: Any) -> Any:
        """Handle one frame. What it gives is on its way for a while: never write into it afterwards."""
        raise NotImplementedError

    def execute_batch(self, batch: list[tuple[Any, ...]]) -> list[Any]:
        """Handle several frames at once (max_batch > 1): one value per frame, None where it ends.

        Whatever this raises, each of these frames is given to `execute` alone.
        """
        return [self.execute(*inputs) for inputs in batch]

    def output(self, shape: tuple[int, int, int], port: int = 0) -> Image:
        """Return memory for the picture that `execute` is about to give at output *port*: uint8 *shape*, not set.

        Where the next handler runs on this node it is shared memory, and returning this very array sends it without
        a copy; anything else may be returned as well. Once returned it belongs to the receiver: keep no reference.
        """
        return self.allocate(shape, port)

    def finish(self) -> None:
        """Release what prepare took."""

    @classmethod
    def check(cls, params: Any, context: Context) -> None:
        """Raise Unavailable when this type cannot run here with *params*: cheap, loads nothing, no heavy import."""


class Source(Handler[P]):
    """A handler without inputs: it makes the frames."""

    def read(self) -> Any:
        """Return the next value of output 0; blocks until there is one. Raises EndOfSource."""
        raise NotImplementedError


def load_class(name: str) -> type[Handler[Any]]:
    """Return the class that "module:Class" names. Raises Unavailable with the reason."""
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise Unavailable(f"cannot load {name!r}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Handler)):
        raise Unavailable(f"{name!r} is not a Handler")
    return found


def read_params(cls: type[Handler[Any]], params: dict[str, Any]) -> Params:
    """Return *params* as the handler's struct. Raises msgspec.ValidationError with the path of the fault."""
    return msgspec.convert(params, cls.params_type, strict=True)
