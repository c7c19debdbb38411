"""Several daemons of one configuration file under one parent.

    supervisor ──starts, SIGTERM──▶ main.py CONFIG --only coordinator | collector | node:NAME
               ◀──stdout: its ready line, SIGCHLD──

One thread, one loop that waits on the children's output and on signals. First coordinator and collector, then, when
those are ready, the nodes; backwards at the end. Who dies after it was ready is started again. All children stay in
the supervisor's process group and get SIGTERM from the kernel when it dies.
"""

import logging
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import IO, cast
from urllib.parse import urlsplit

from wire.ini import env_name
from wire.restarts import Event, Restarts, State
from wire.settings import Settings

PATIENCE_S = 15.0  # a child may take 10 s for the frames in flight
READY = re.compile(r" ready on (https?://[^\s,]+)")

logger = logging.getLogger(__name__)


def units(settings: Settings) -> list[str]:
    """Return the names of the daemons that *settings* has: coordinator, collector, node, node:NAME."""
    daemons = [name for name in ("collector", "coordinator") if getattr(settings, name) is not None]
    return daemons + [re.sub(r" +", ":", node.section) for node in settings.nodes]


def passed_on(settings: Settings, unit: str, url: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return overrides for *unit* itself and for the nodes, once it is ready on *url*.

    Only where the file leaves the port to the kernel (0): a restart must come back to the same port, and the nodes
    must learn it.
    """
    port = str(urlsplit(url).port)
    if unit == "coordinator" and settings.coordinator and settings.coordinator.coordinator_port == 0:
        nodes = {env_name(node.section) + "COORDINATOR_URL": url for node in settings.nodes}
        return {env_name("coordinator") + "COORDINATOR_PORT": port}, nodes
    if unit == "collector" and settings.collector and settings.collector.collector_port == 0:
        own = {env_name("collector") + "COLLECTOR_PORT": port}
        return own, {env_name("reporter") + "COLLECTOR_PORT": port}
    return {}, {}


class Child:
    """One daemon: its process, its state, what it printed so far of a line."""

    def __init__(self, unit: str, command: list[str]) -> None:
        self.unit, self._command = unit, command
        self.restarts = Restarts()
        self.environ: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self._partial = b""

    def __repr__(self) -> str:
        return f"<Child {self.unit} {self.restarts.state}>"

    @property
    def alive(self) -> bool:
        """True while the process has not been reaped."""
        return self.process is not None and self.process.returncode is None

    def start(self, environ: Mapping[str, str]) -> IO[bytes]:
        """Start the process; returns its output."""
        self.restarts.start(time.monotonic())
        command = [*self._command, "--only", self.unit, "--parent", str(os.getpid())]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**environ, **self.environ})  # noqa: S603
        self._partial = b""
        pipe = cast(IO[bytes], self.process.stdout)
        os.set_blocking(pipe.fileno(), False)
        return pipe

    def read(self, pipe: IO[bytes]) -> tuple[list[str], bool]:
        """Return the lines that are complete now, and whether the output has ended."""
        data = pipe.read(65536)
        *lines, self._partial = (self._partial + (data or b"")).split(b"\n")
        return [line.decode(errors="replace") for line in lines], data == b""

    def signal(self, signum: int) -> None:
        """Send *signum* when it lives."""
        if self.alive and self.process is not None:
            self.process.send_signal(signum)


class Supervisor:
    """Runs the daemons of *settings*; *command* is what starts one, without `--only`."""

    def __init__(self, settings: Settings, command: list[str], environ: Mapping[str, str]) -> None:
        self._settings, self._environ = settings, dict(environ)
        children = [Child(unit, command) for unit in units(settings)]
        daemons = [child for child in children if not child.unit.startswith("node")]
        nodes = [child for child in children if child.unit.startswith("node")]
        self._groups = [group for group in (daemons, nodes) if group]
        self._started: list[list[Child]] = []
        self._selector = selectors.DefaultSelector()
        self._status = 0
        self._stopping = False
        self._hung_up = False
        self._kill_at: float | None = None

    def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until a daemon fails to start at all; returns the exit status."""
        wake, wakened = socket.socketpair()
        wake.setblocking(False)
        wakened.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._on_signal)
        signal.signal(signal.SIGHUP, self._on_hangup)
        signal.signal(signal.SIGCHLD, lambda _signum, _frame: None)
        self._selector.register(wakened, selectors.EVENT_READ, lambda: wakened.recv(4096))
        while self._step():
            for key, _ in self._selector.select(self._patience()):
                action: Callable[[], object] = key.data
                action()
        return self._status

    def _on_signal(self, _signum: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _on_hangup(self, _signum: int, _frame: FrameType | None) -> None:
        self._hung_up = True

    def _children(self) -> list[Child]:
        return [child for group in self._started for child in group]

    def _step(self) -> bool:
        """Do all that is due; returns False when the work is over."""
        for child in self._children():
            if child.alive and child.process is not None and child.process.poll() is not None:
                self._exited(child, child.process.returncode)
        if self._stopping:
            return self._stop_groups()
        if self._hung_up:
            self._hung_up = False
            for child in self._children():
                child.signal(signal.SIGHUP)
        self._restart_due()
        if self._groups and all(child.restarts.was_ready for child in self._children()):
            self._start_group()
        return True

    def _start_group(self) -> None:
        group = self._groups.pop(0)
        self._started.append(group)
        for child in group:
            self._start(child)

    def _start(self, child: Child) -> None:
        pipe = child.start(self._environ)
        self._selector.register(pipe, selectors.EVENT_READ, lambda: self._read(child, pipe))

    def _restart_due(self) -> None:
        for child in self._children():
            if child.restarts.state is State.BACKOFF and child.restarts.due <= time.monotonic():
                self._start(child)

    def _read(self, child: Child, pipe: IO[bytes]) -> None:
        lines, ended = child.read(pipe)
        for line in lines:
            print(line, flush=True)  # noqa: T201 - the daemon's own ready line
            match = READY.search(line)
            if match and child.restarts.state is State.STARTING:
                self._ready(child, match[1])
        if ended:
            self._selector.unregister(pipe)
            pipe.close()

    def _ready(self, child: Child, url: str) -> None:
        child.restarts.ready()
        own, nodes = passed_on(self._settings, child.unit, url)
        child.environ.update(own)
        self._environ.update(nodes)

    def _exited(self, child: Child, status: int) -> None:
        child.restarts.exit(time.monotonic())
        if self._stopping:
            self._status = self._status or int(status != 0)
        elif not child.restarts.was_ready:
            logger.error("%s could not start (status %s)", child.unit, status)
            self._status, self._stopping = (status if status > 0 else 1), True
        elif child.restarts.state is State.FATAL:
            logger.error("%s died %d times in a row and is given up", child.unit, child.restarts.failures)
        else:
            delay = max(0.0, child.restarts.due - time.monotonic())
            logger.warning("%s died (status %s), again in %.1f s", child.unit, status, delay)

    def _stop_groups(self) -> bool:
        """Stop the group that was started last, then the one before; returns False when all are gone."""
        for group in reversed(self._started):
            if not any(child.alive for child in group):
                continue
            self._ask_to_stop(group)
            return True
        return False

    def _ask_to_stop(self, group: list[Child]) -> None:
        now = time.monotonic()
        asked = [child for child in group if child.alive and child.restarts.state is not State.STOPPED]
        for child in asked:
            child.restarts.transition(Event.STOP)
            child.signal(signal.SIGTERM)
        if asked:
            self._kill_at = now + PATIENCE_S
        elif self._kill_at is not None and now >= self._kill_at:
            for child in group:
                logger.error("%s did not stop in time and is killed", child.unit)
                child.signal(signal.SIGKILL)
            self._kill_at = now + PATIENCE_S

    def _patience(self) -> float | None:
        """Return how long the loop may wait, in seconds; None: until something happens."""
        due = [child.restarts.due for child in self._children() if child.restarts.state is State.BACKOFF]
        if self._stopping:
            due = [self._kill_at] if self._kill_at is not None else []
        return max(0.0, min(due) - time.monotonic()) if due else None


def supervise(settings: Settings, main: str) -> int:
    """Run all daemons of *settings*; *main* is the program that starts one. Returns the exit status."""
    return Supervisor(settings, [sys.executable, main, str(settings.path)], os.environ).run()
