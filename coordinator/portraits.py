"""Looking for faces in a picture that is to be enrolled, in a short-lived process.

The coordinator decodes no picture and imports no vision library: `handlers.portrait` does, on its own, and what a
hostile picture does to it ends there. Few at once: each takes a core for a second or so.
"""

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import msgspec

from wire.galleries import Portrait
from wire.web import Problem, Unavailable, Unprocessable

ROOT = Path(__file__).resolve().parent.parent
COMMAND = (sys.executable, "-m", "handlers.portrait")
AT_ONCE = 2
PATIENCE_S = 30.0  # for a turn, and again for the answer

logger = logging.getLogger(__name__)


class NoPortrait(Unprocessable):
    slug, title = "no-portrait", "The picture shows nobody who can be enrolled"


class Portraits:
    """Thread-safe."""

    def __init__(self, at_once: int = AT_ONCE, patience_s: float = PATIENCE_S) -> None:
        self._turns = threading.BoundedSemaphore(at_once)
        self._patience_s = patience_s

    def examine(self, picture: bytes) -> Portrait:
        """Return what the picture shows: at least one face. Raises NoPortrait, Unavailable."""
        if not self._turns.acquire(timeout=self._patience_s):
            raise Unavailable("too many pictures are being looked at", retry_after=2)
        try:
            found = _look(picture, self._patience_s)
        finally:
            self._turns.release()
        if found.unavailable is not None:
            raise Unavailable(f"faces cannot be looked for on the coordinator's machine: {found.unavailable}")
        if found.refused is not None:
            raise NoPortrait(found.refused)
        return found


def _look(picture: bytes, patience_s: float) -> Portrait:
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - our own module, and no shell
            COMMAND, input=picture, capture_output=True, timeout=patience_s, cwd=ROOT, env=environ, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"no answer in {patience_s:g} s about the faces in the picture", retry_after=5) from error
    except OSError as error:
        raise Unavailable(f"cannot look for faces: {error}") from error
    if done.returncode < 0:  # what ends a process this way is in the picture
        raise NoPortrait(f"the picture ends the process that looks at it (signal {-done.returncode})")
    try:
        return msgspec.json.decode(done.stdout, type=Portrait)
    except msgspec.DecodeError as error:
        logger.error("%s: status %d: %s", " ".join(COMMAND), done.returncode, done.stderr.decode(errors="replace"))
        raise Problem("the look for faces broke; see the daemon's log") from error
