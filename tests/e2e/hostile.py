"""A handler type that does what it should not, told by its parameters: the tests' own, never shipped."""

import json
import os
import signal
from collections.abc import Iterator
from glob import glob
from pathlib import Path

from handlers.base import Handler, Params
from handlers.types import Box, Boxes, Image

MIB = 1 << 20


class HostileParams(Params, frozen=True):
    """What to do with each frame."""

    act: str = "look"  # look | write | eat | kill
    paths: list[str] = []  # to look into (patterns), or to write to
    secrets: list[str] = []  # what must not be found, turned round so that these parameters are no find


class HostileHandler(Handler[HostileParams]):
    """Image -> Boxes: one box whose label is JSON, what was found."""

    params_type = HostileParams
    inputs, outputs = (Image,), (Boxes,)

    def execute(self, image: Image) -> Boxes:
        """Do it; raises what comes of it."""
        found = getattr(self, f"_{self.params.act}")()
        return Boxes([Box(json.dumps(found), 1.0, 0, 0, 1, 1)])

    def _look(self) -> dict[str, list[str]]:
        wanted = [secret[::-1] for secret in self.params.secrets]
        held = {"os.environ": str(dict(os.environ)).encode()} | dict(self._files())
        return {
            "secrets": [name for name, data in held.items() if any(secret.encode() in data for secret in wanted)],
            "read": [name for name in held if name[:5] not in ("os.en", "/proc")],
            "descriptors": sorted(_descriptors()),
            "environ": sorted(os.environ),
        }

    def _files(self) -> Iterator[tuple[str, bytes]]:
        """Yield what can be read: the files of the parameters, and all that processes show of themselves."""
        shown = [str(path) for path in Path("/proc").glob("[0-9]*/environ")]
        for name in ("/proc/self/environ", *shown, *(found for path in self.params.paths for found in glob(path))):
            try:
                yield name, Path(name).read_bytes()
            except OSError:
                continue

    def _write(self) -> list[str]:
        """Return what was written. Raises PermissionError, naming what was refused."""
        refused = []
        for path in self.params.paths:
            try:
                Path(path).write_text("a handler was here")
            except PermissionError as error:
                refused.append(str(error.filename))
        if refused:
            raise PermissionError(f"refused: {' '.join(refused)}")
        return self.params.paths

    def _eat(self) -> int:
        kept = []
        while True:
            kept.append(b"x" * (8 * MIB))

    def _kill(self) -> list[int]:
        os.kill(os.getpgid(0), signal.SIGKILL)  # its group is led by the node's agent
        return []


def _descriptors() -> Iterator[str]:
    for number in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{number}")
        except OSError:  # the one of the listing itself
            continue
