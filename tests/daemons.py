"""Real daemons for tests: `python main.py CONFIG` with port 0, its printed ready line, an orderly end."""

import atexit
import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue

import psutil

ROOT = Path(__file__).resolve().parent.parent
READY = re.compile(r"^(coordinator|collector|node (\d+)) ready on (https?://[^\s,]+)(?:, frames on (https?://\S+))?$")
START_S, STOP_S = 30.0, 20.0


@dataclass
class Ready:
    """What a ready line says."""

    name: str  # coordinator, collector, node 1
    url: str
    data_url: str | None = None


@dataclass
class Daemon:
    """A started daemon (or supervisor); its process leads a process group of its own."""

    process: subprocess.Popen[str]
    log: Path  # its stderr
    stopped: bool = False
    ready: list[Ready] = field(default_factory=list)
    _lines: "Queue[str]" = field(default_factory=Queue)

    @property
    def url(self) -> str:
        """Control URL of the first that was ready."""
        return self.ready[0].url

    @property
    def data_url(self) -> str:
        """Frame URL of a node."""
        url = self.ready[0].data_url
        assert url is not None, f"{self.ready[0].name} takes no frames"
        return url

    def wait_ready(self, count: int = 1, timeout: float = START_S) -> "Daemon":
        """Wait until *count* ready lines were printed; returns self."""
        while len(self.ready) < count:
            try:
                line = self._lines.get(timeout=timeout)
            except Empty:
                raise AssertionError(f"not ready after {timeout} s; stderr:\n{self.log.read_text()}") from None
            match = READY.match(line)
            assert match, f"ended or printed {line!r}; stderr:\n{self.log.read_text()}"
            self.ready.append(Ready(match[1], match[3], match[4]))
        return self

    def members(self) -> list[psutil.Process]:
        """Return the processes of its group that live."""
        return [process for process in psutil.process_iter() if _group(process) == self.process.pid]

    def stop(self, signum: int = signal.SIGTERM) -> None:
        """End it in order: exit status 0, and no process of its group is left."""
        if self.stopped:
            return
        self.stopped = True
        self.process.send_signal(signum)
        try:
            status = self.process.wait(STOP_S)
            left = psutil.wait_procs(self.members(), timeout=2)[1]
        finally:
            self.kill()
        assert status == 0, f"exit status {status}; stderr:\n{self.log.read_text()}"
        assert not left, f"left behind: {left}"

    def kill(self) -> None:
        """End the whole group at once."""
        self.stopped = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_S)

    def follow(self) -> None:
        """Read the output in a thread from now on."""
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put("<end>")


def _group(process: psutil.Process) -> int | None:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return os.getpgid(process.pid)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return None


def clean_environ(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this environment without overrides but *changes*, with a temporary folder of this run's own.

    An agent sweeps what killed agents of its user left: without a folder of its own a run would sweep another's.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith("FACESERVICE_")}
    return kept | {"TMPDIR": _private_folder()} | dict(changes or {})


@functools.cache
def _private_folder() -> str:
    folder = tempfile.mkdtemp(prefix="fs-test-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def start(
    config: Path,
    folder: Path,
    environ: Mapping[str, str] | None = None,
    *,
    arguments: tuple[str, ...] = (),
    under: tuple[str, ...] = (),
) -> Daemon:
    """Start main.py on *config*; its log goes to *folder*. Call wait_ready() for its ready lines.

    under: a command that replaces itself by the one that it gets as its last arguments.
    """
    log = folder / f"{config.stem}-{len(list(folder.glob('*.log')))}.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [*under, sys.executable, str(ROOT / "main.py"), str(config), *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=clean_environ(environ),
            process_group=0,
        )
    daemon = Daemon(process, log)
    daemon.follow()
    return daemon


def run(*arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run main.py to its end."""
    command = [sys.executable, str(ROOT / "main.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=clean_environ(environ), check=False)
