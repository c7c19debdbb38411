"""A real child process that speaks node.processes.control: its behaviour is told by its argument."""

import contextlib
import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

from node.processes import control
from node.processes.progress import ProgressFile


def obedient(pipe: Connection, progress: str) -> None:
    """Be ready, report the first message and the environment, leave on Shutdown or at the pipe's end."""
    _ignore_signals()
    first = control.receive(pipe, control.to_handler)
    control.send(pipe, control.Ready(load_ms=1.0))
    environment = sum(os.environ.get(name) == value for name, value in EXPECTED.items())
    control.send(pipe, control.Telemetry(frames=environment, queue_size=int(first.running)))
    _listen(pipe)


def examined(pipe: Connection, progress: str) -> None:
    """Be ready, and report whether node.preload and the shared-memory library are imported."""
    _ignore_signals()
    control.send(pipe, control.Ready())
    here = control.Telemetry(frames=int("node.preload" in sys.modules), queue_size=int("iceoryx2" in sys.modules))
    control.send(pipe, here)
    _listen(pipe)


def busy(pipe: Connection, progress: str) -> None:
    """Be ready and work on frame 17 for ever."""
    _ignore_signals()
    control.receive(pipe, control.to_handler)
    control.send(pipe, control.Ready())
    ProgressFile(Path(progress)).begin(17, 3)
    _listen(pipe)


def deaf(pipe: Connection, progress: str) -> None:
    """Be ready and heed nothing."""
    _ignore_signals()
    control.send(pipe, control.Ready())
    time.sleep(60)


def hopeless(pipe: Connection, progress: str) -> None:
    """Lack something for good."""
    control.send(pipe, control.Failed(reason="no model", for_good=True))


def wordy(pipe: Connection, progress: str) -> None:
    """Give a reason that is longer than a heartbeat may be."""
    control.send(pipe, control.Failed(reason="because " * (1 << 20), for_good=True))


def babbling(pipe: Connection, progress: str) -> None:
    """Send what is no message."""
    pipe.send_bytes(b"\xc1 not MessagePack")
    time.sleep(60)


def garbling(pipe: Connection, progress: str) -> None:
    """Send a message with half a character in it."""
    pipe.send_bytes(b"\x81\xa4ty\xffe\xa5ready")
    time.sleep(60)


EXPECTED = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
}


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _listen(pipe: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        while not isinstance(control.receive(pipe, control.to_handler), control.Shutdown):
            pass
