"""Where child processes come from: one fork server per agent, which has imported much (node.preload) and used nothing.

    agent ──Process.start──▶ fork server ──fork──▶ child
      └───────────────── pipe ─────────────────────┘   end of the pipe = end of the agent: the child leaves

The agent's own threads are never forked. Children inherit blocked SIGTERM, SIGINT and SIGHUP: a signal to the whole
process group (Ctrl-C, systemd) is the agent's to act on.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from node.processes.environment import for_children

PRELOAD = ("numpy", "cv2", "node.preload")
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # one process per handler: threads inside would fight for the same cores
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),  # keep big buffers: fresh ones cost page faults for every frame
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}


@dataclass(frozen=True, slots=True)
class Launched:
    """A living child: its process, our end of its pipe, and a descriptor that becomes readable when it ends."""

    process: BaseProcess
    pipe: Connection
    ended: int
    owns_descriptor: bool

    def kill(self) -> None:
        """Kill it unless it has ended: never another process that got its number."""
        if not self.owns_descriptor:
            self.process.kill()
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.ended, signal.SIGKILL)

    def close(self) -> None:
        """Close our ends; the process must have ended."""
        self.pipe.close()
        if self.owns_descriptor:
            os.close(self.ended)


class Launcher:
    """Starts children; safe to use from several threads."""

    def __init__(self, environ: Collection[str] = ()) -> None:
        """environ: names of variables that children get beyond the usual ones."""
        self._more = environ
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOAD))
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the fork server, whose environment all children share: it has none of this process's secrets.

        This process forgets its own too, so that a fork server that is started again has no more.
        """
        kept = for_children(os.environ, self._more)
        os.environ.clear()
        os.environ.update(kept | ENVIRONMENT | {"PYTHONPATH": _python_path(kept)})
        with self._lock, _signals_blocked():
            forkserver.ensure_running()

    def launch(self, name: str, target: Callable[..., None], args: tuple[Any, ...]) -> Launched:
        """Start a child that runs `target(pipe, *args)`. Raises OSError."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=target, args=(theirs, *args), name=name, daemon=True)
        try:
            with self._lock, _signals_blocked():
                process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return self._launched(process, ours)

    def reap(self, launched: Launched) -> int | None:
        """Collect an ended child. Returns its exit status, None when it is not known."""
        with self._lock:
            launched.process.join(1.0)
            status = launched.process.exitcode
        launched.close()
        return status

    def stop(self) -> None:
        """End the fork server; all children must have ended."""
        with self._lock:
            helpers: tuple[Any, ...] = (forkserver._forkserver, resource_tracker._resource_tracker)
            for helper in helpers:
                with contextlib.suppress(ChildProcessError):
                    helper._stop()

    @staticmethod
    def _launched(process: BaseProcess, pipe: Connection) -> Launched:
        """Prefer a pidfd: `process.sentinel` fires too when only the fork server dies."""
        if process.pid is not None and hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                return Launched(process, pipe, os.pidfd_open(process.pid), True)
        return Launched(process, pipe, process.sentinel, False)


def _python_path(environ: Mapping[str, str]) -> str:
    """Return a PYTHONPATH with our modules: a fork server looks nowhere else (gh-126631), and does not say so."""
    return os.pathsep.join([str(ROOT), *filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))])


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block the stop signals in this thread, so that a fork server started now inherits that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
