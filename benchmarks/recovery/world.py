"""Real daemons, each in a process group of its own, so that one of them can be killed whole, or slowed."""

import os
import random
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from benchmarks.common import ROOT
from client.coordinator import Coordinator
from client.demo.daemons import Daemons, new_folder
from client.errors import ClientError
from wire.database import connect, migrate
from wire.settings import DatabaseSettings

PATIENCE_S = 30.0
LOOK_S = 0.02
COORDINATOR = """
[coordinator]
coordinator_port = {port}
node_path = {folder}/nodes
"""
COLLECTOR = """
[collector]
collector_port = {port}
node_path = {folder}/nodes
"""
NODE = """
[node n{node_id}]
node_id = {node_id}
node_port = {control}
data_port = {data}
coordinator_url = {urls}
cpus = {cpu}
gallery_path = {root}/samples/gallery

[reporter]
collector_port = {collector}
packet_sample = 0.1
send_report_period = 1
spool_path = {folder}/spool
"""
SQLITE = """
[database]
db_engine = sqlite
db_path = {folder}/faceservice.sqlite
"""
MYSQL = """
[database]
db_engine = mysql
db_addr = {d.db_addr}
db_port = {d.db_port}
db_user = {d.db_user}
db_passwd = {d.db_passwd}
db_schema = {d.db_schema}
"""


class World:
    """Daemons by name: coordinator-1, coordinator-2, collector, node-1, ..."""

    def __init__(self, folder: Path, nodes: int, coordinators: int, database: DatabaseSettings | None) -> None:
        self._folder, self._running = folder, dict[str, Daemons]()
        self.chance = random.Random(1)  # draws victims and moments
        (folder / "nodes").mkdir()
        names = [f"coordinator-{i}" for i in range(1, coordinators + 1)]
        self.node_ids = list(range(1, nodes + 1))
        ports = dict(zip([*names, "collector"], free_ports(coordinators + 1), strict=True))
        self.coordinators = {name: f"http://127.0.0.1:{ports[name]}" for name in names}
        where = MYSQL.format(d=database) if database else SQLITE.format(folder=folder)
        self._texts = {n: COORDINATOR.format(folder=folder, port=ports[n]) + where for n in names}
        self._texts["collector"] = COLLECTOR.format(folder=folder, port=ports["collector"]) + where
        cores = sorted(os.sched_getaffinity(0))
        for node_id in self.node_ids:
            control, data = free_ports(2)
            self._texts[f"node-{node_id}"] = NODE.format(
                folder=folder,
                root=ROOT,
                node_id=node_id,
                control=control,
                data=data,
                urls=", ".join(self.coordinators.values()),
                cpu=cores[node_id % len(cores)],
                collector=ports["collector"],
            )

    @property
    def names(self) -> list[str]:
        """All daemons, in the order in which they start."""
        return list(self._texts)

    @property
    def url(self) -> str:
        """URL of the first coordinator that runs."""
        return next(url for name, url in self.coordinators.items() if name in self._running)

    @property
    def api(self) -> Coordinator:
        """The first coordinator that runs."""
        return Coordinator(self.url)

    def start(self, name: str) -> None:
        """Start a daemon and return when it is ready. Raises DemoError."""
        config = self._folder / f"{name}.conf"
        config.write_text(self._texts[name])
        log = self._folder / f"{name}-{len(list(self._folder.glob(f'{name}-*.log')))}.log"
        daemon = self._running[name] = Daemons(ROOT, config, {"FACESERVICE_SECURITY_TOKEN": ""}, log)
        daemon.wait_ready(1)

    def told(self, name: str) -> str:
        """Return the log of a daemon that runs."""
        return self._running[name].log.read_text(encoding="utf-8", errors="replace")

    def kill(self, name: str) -> float:
        """kill -9 the whole process group; return when (monotonic, s)."""
        pid = self._running.pop(name).pid
        at = time.monotonic()
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
        return at

    def stop(self) -> None:
        """Stop all in order, the nodes first; kill them when that is broken off. Raises RuntimeError when something
        was left.
        """
        try:
            faults = [f"{n}: {fault}" for n in reversed(self.names) if n in self._running and (fault := self._end(n))]
        finally:
            for name in list(self._running):
                self.kill(name)
        if faults:
            raise RuntimeError("; ".join(faults) + f" (logs: {self._folder})")

    def _end(self, name: str) -> str:
        fault = self._running[name].stop()
        del self._running[name]
        return fault

    def up(self, url: str | None = None) -> set[int]:
        """Return the nodes that a coordinator finds up."""
        with suppress(ClientError):
            nodes = Coordinator(url or self.url).list_of("/nodes", "nodes")
            return {n["node_id"] for n in nodes if n["state"] == "up"}
        return set()

    def wait_up(self) -> None:
        """Wait until every coordinator that runs finds all nodes up."""
        for name, url in self.coordinators.items():
            if name in self._running:
                wait_for(lambda url=url: self.up(url) == set(self.node_ids), f"all nodes up at {name}")  # type: ignore[misc]

    @contextmanager
    def slowed(self, name: str, period_s: float = 0.1) -> Iterator[None]:
        """Stop all processes of a daemon for half of the time while the block runs."""
        over, group = threading.Event(), self._running[name].pid
        thread = threading.Thread(target=self._stutter, args=(group, period_s / 2, over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            try:
                thread.join()
            finally:  # also when the wait is broken off: what is stopped could not be ended
                with suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGCONT)

    def _stutter(self, group: int, half_s: float, over: threading.Event) -> None:
        while not over.is_set():
            os.killpg(group, signal.SIGSTOP)
            over.wait(half_s)
            os.killpg(group, signal.SIGCONT)
            over.wait(half_s)


@contextmanager
def world(*, nodes: int = 3, coordinators: int = 1, database: DatabaseSettings | None = None) -> Iterator[World]:
    """Start everything; afterwards nothing is left. The folder stays when something went wrong."""
    folder = new_folder()
    if database is not None:
        migrate(connect(database))
    made = World(folder, nodes, coordinators, database)
    try:
        for name in made.names:
            made.start(name)
        made.wait_up()
        yield made
    finally:
        made.stop()
    shutil.rmtree(folder, ignore_errors=True)


def wait_for(
    condition: Callable[[], object], what: str, told: Callable[[], object] = str, patience_s: float = PATIENCE_S
) -> float:
    """Wait until *condition* holds and return when (monotonic, s). Raises TimeoutError that says *what*."""
    until = time.monotonic() + patience_s
    pause = threading.Event()
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {patience_s:g} s for {what}: {told()}")
        pause.wait(LOOK_S)
    return time.monotonic()


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(s.getsockname()[1]) for s in sockets]
