"""Starts the daemons of a config file, waits until they are ready, and stops them to the last process."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil

from client.errors import ClientError
from wire.settings import Settings

READY = re.compile(r"^(coordinator|collector|node \S+) ready on (http\S+?)(?:, frames on (\S+))?$", re.MULTILINE)
READY_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0  # frames in flight have 10 s
LOOK_PERIOD_S = 0.1


class DemoError(ClientError):
    """The demo cannot go on."""


def free_ports(settings: Settings) -> dict[str, str]:
    """Return the overrides that move the daemons off ports that are taken; none when all are free."""
    wanted = dict(_ports(settings))
    with ExitStack() as held:
        taken = [key for key, (address, port) in wanted.items() if not _hold(held, address, port)]
        if not taken:
            return {}
        chosen = {key: _any_port(held, wanted[key][0]) if key in taken else wanted[key][1] for key in wanted}
    return {**{key: str(port) for key, port in chosen.items()}, **_followers(settings, chosen)}


def _ports(settings: Settings) -> Iterator[tuple[str, tuple[str, int]]]:
    """Yield the variable that overrides each port, with address and port as configured."""
    if settings.coordinator:
        place = settings.coordinator
        yield "FACESERVICE_COORDINATOR_COORDINATOR_PORT", (place.coordinator_addr, place.coordinator_port)
    if settings.collector:
        yield (
            "FACESERVICE_COLLECTOR_COLLECTOR_PORT",
            (settings.collector.collector_addr, settings.collector.collector_port),
        )
    for node in settings.nodes:
        yield f"{prefix(node.section)}_NODE_PORT", (node.listen_addr, node.node_port)
        yield f"{prefix(node.section)}_DATA_PORT", (node.listen_addr, node.data_port)


def _followers(settings: Settings, chosen: Mapping[str, int]) -> dict[str, str]:
    """Return the overrides that tell the nodes where coordinator and collector are now."""
    found = {}
    collector = chosen.get("FACESERVICE_COLLECTOR_COLLECTOR_PORT")
    if collector is not None:
        found["FACESERVICE_REPORTER_COLLECTOR_PORT"] = str(collector)
    coordinator = chosen.get("FACESERVICE_COORDINATOR_COORDINATOR_PORT")
    if coordinator is not None and settings.coordinator:
        url = f"http://{settings.coordinator.coordinator_addr}:{coordinator}"
        found |= {f"{prefix(node.section)}_COORDINATOR_URL": url for node in settings.nodes}
    return found


def prefix(section: str) -> str:
    """Return the start of the variables that override *section*: "node edge" -> FACESERVICE_NODE_EDGE."""
    return "FACESERVICE_" + re.sub(r"[^A-Za-z0-9]+", "_", section).upper()


def _hold(held: ExitStack, address: str, port: int) -> bool:
    """Keep a port for as long as *held* lives; False when somebody listens there."""
    listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except OSError:
        return False
    return True


def _any_port(held: ExitStack, address: str) -> int:
    listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    listener.bind((address, 0))
    return int(listener.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Place:
    """Where a daemon listens."""

    url: str
    frames: str | None = None


class Daemons:
    """`main.py CONFIG` and all that it started. Their output goes to a file, so that they outlive this process."""

    def __init__(self, root: Path, config: Path, environ: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, str(root / "main.py"), str(config)],
                cwd=root,
                env={**os.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the demo: it stops them in order
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self, count: int) -> dict[str, Place]:
        """Return where each of *count* daemons listens, by the name in its ready line. Raises DemoError."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            found = {name: Place(url, frames or None) for name, url, frames in READY.findall(self._told())}
            if len(found) >= count:
                return found
            self.pause()
        raise DemoError(f"the daemons were not ready after {READY_TIMEOUT_S:.0f} s:\n{self._last_lines()}")

    def pause(self) -> None:
        """Wait a moment. Raises DemoError when the daemons have ended."""
        try:
            status = self._process.wait(LOOK_PERIOD_S)
        except subprocess.TimeoutExpired:
            return
        raise DemoError(f"the daemons ended with status {status}:\n{self._last_lines()}")

    def stop(self) -> str:
        """Stop all; return what was wrong with that, or nothing. Waits until every process is gone."""
        try:
            started = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return f"they had ended already:\n{self._last_lines()}"
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            status = None
        _, left = psutil.wait_procs(started[1:], timeout=3)
        self._end(left)
        if status is None:
            return f"main.py did not stop within {STOP_TIMEOUT_S:.0f} s"
        if left:
            return "processes were left: " + ", ".join(str(process.pid) for process in left)
        return "" if status == 0 else f"main.py ended with status {status}:\n{self._last_lines()}"

    def _end(self, left: list[psutil.Process]) -> None:
        """Kill what did not stop, each by its own number."""
        for process in left:
            process.kill()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _told(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def _last_lines(self) -> str:
        return "\n".join(self._told().splitlines()[-20:]) + f"\n(all of it: {self.log})"


def new_folder() -> Path:
    """Return an empty folder for one run's database and spool."""
    return Path(tempfile.mkdtemp(prefix="faceservice-demo-"))
