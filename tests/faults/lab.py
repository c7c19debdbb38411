"""A coordinator and two nodes of a run's own, with doors before the nodes, and a look at what they leave behind."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import psutil
import requests

from tests.conftest import wait_for_nodes
from tests.daemons import Daemon, start
from tests.faults import services
from tests.faults.plans import NODES, Part
from tests.faults.relay import Door, Relay

LabT = TypeVar("LabT", bound="Lab")
SHM = Path("/dev/shm")
HERE = "127.0.0.1"  # where nodes listen
LINK, DOOR = "127.0.0.{}", "127.0.1.{}"  # of node n: where other nodes, and clients, reach it

COORDINATOR = """
[coordinator]
coordinator_port = {port}
node_path = {folder}/nodes
handler_type_path = {folder}/types/handlers
service_type_path = {folder}/types/services
"""
SQLITE = """
[database]
db_engine = sqlite
db_path = {folder}/faceservice.sqlite
"""
NODE = """
[node]
node_id = {node_id}
node_addr = {addr}
listen_addr = 127.0.0.1
node_port = {port}
data_port = {data_port}
coordinator_url = {coordinator}
handler_type_path = {folder}/types/handlers
handler_timeout = 3
"""
NO_REPORTS = """
[reporter]
enabled = false
spool_path = {folder}/spool
"""


def link_host(node_id: int) -> str:
    """Return the address by which other nodes, and the coordinator, know a node."""
    return LINK.format(10 + node_id)


def door_host(address: str) -> str:
    """Return the address by which clients reach the node that the others know by *address*."""
    return DOOR.format(address.rpartition(".")[2])


class Lab:
    """Daemons and doors of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.node_ids: tuple[int, ...] = NODES
        (folder / "nodes").mkdir()
        services.write(folder / "types")
        self.relay = Relay()
        self.doors: dict[tuple[Part, int], Door] = {}
        self.nodes: dict[int, Daemon] = {}
        self._daemons: list[Daemon] = []
        self._folders: set[str] = set()
        self._ports: dict[int, tuple[int, int]] = {}

    def begin(self) -> None:
        """Start everything."""
        self.relay.start()
        self.coordinator = self.start_coordinator(0)
        starting = {n: self._start_node(n, 0, 0) for n in NODES}
        for node_id, node in starting.items():
            node.wait_ready()
            self._open_doors(node_id, node)
        self.nodes = starting
        wait_for_nodes(self.coordinator.url, set(NODES))
        self._note_folders()

    @property
    def url(self) -> str:
        """Where a coordinator answers."""
        return self.coordinator.url

    def start_coordinator(self, port: int) -> Daemon:
        """Start the coordinator, again by its old port."""
        daemon = self._start("coordinator", (COORDINATOR + SQLITE).format(port=port, folder=self.folder)).wait_ready()
        self.coordinator = daemon
        return daemon

    def restart_node(self, node_id: int) -> None:
        """Start a killed node on its old ports."""
        control, data = self._ports[node_id]
        self.nodes[node_id] = self._start_node(node_id, control, data).wait_ready()
        self._note_folders()

    def _start_node(self, node_id: int, port: int, data_port: int) -> Daemon:
        text = (NODE + NO_REPORTS).format(
            node_id=node_id,
            addr=link_host(node_id),
            port=port,
            data_port=data_port,
            coordinator=self.coordinator.url,
            folder=self.folder,
        )
        return self._start(f"node{node_id}", text)

    def _start(
        self, name: str, text: str, environ: Mapping[str, str] | None = None, under: tuple[str, ...] = ()
    ) -> Daemon:
        config = self.folder / f"{name}.conf"
        config.write_text(text)
        daemon = start(config, self.folder, {"TMPDIR": str(self.folder)} | dict(environ or {}), under=under)
        self._daemons.append(daemon)
        return daemon

    def _open_doors(self, node_id: int, node: Daemon) -> None:
        control, data = (urlsplit(url).port or 0 for url in (node.url, node.data_url))
        self._ports[node_id] = control, data
        link = link_host(node_id)
        self.doors[Part.CONTROL, node_id] = self.relay.open((link, control), (HERE, control))
        self.doors[Part.LINK, node_id] = self.relay.open((link, data), (HERE, data))
        self.doors[Part.DOOR, node_id] = self.relay.open((door_host(link), data), (HERE, data))

    def ways(self, part: Part, node_id: int) -> list[Door]:
        """Return the doors that *part* of a node is about."""
        return [self.doors[part, node_id]]

    # --- processes

    def control_url(self, node_id: int) -> str:
        """Return the node's control URL, past the doors."""
        return f"http://{HERE}:{self._ports[node_id][0]}"

    def handler_pid(self, node_id: int, session_id: int, handler_id: int) -> int | None:
        """Return the living process of a handler, or None."""
        held = requests.get(f"{self.control_url(node_id)}/sessions/{session_id}", timeout=5).json()
        pid = next((h["pid"] for h in held.get("handlers", ()) if h["handler_id"] == handler_id), None)
        return pid if pid in self._living(node_id) else None

    def gateway_pid(self, node_id: int) -> int | None:
        """Return the living process of a gateway, or None."""
        found = re.findall(r"gateway started, pid (\d+)", self.nodes[node_id].log.read_text())
        return int(found[-1]) if found and int(found[-1]) in self._living(node_id) else None

    def _living(self, node_id: int) -> set[int]:
        return {member.pid for member in self.nodes[node_id].members()}

    # --- files

    def _note_folders(self) -> None:
        self._folders.update(path.name for path in self._run_folders())

    def _run_folders(self) -> list[Path]:
        return [path for base in self.folder.glob("faceservice-*") for path in base.glob("fs*")]

    def books_file(self, session_id: int) -> Path | None:
        """Return the books of a session, on whichever node its entry is."""
        return next((p for f in self._run_folders() for p in [f / f"books-{session_id}"] if p.exists()), None)

    # --- the end

    def end(self) -> list[str]:
        """Stop all in order; returns what was left behind, or did not end in order."""
        faults: list[str] = []
        for daemon in reversed(self._daemons):
            faults += self._stop(daemon)
        self.relay.close()
        return [*faults, *self.left()]

    def _stop(self, daemon: Daemon) -> list[str]:
        try:
            daemon.stop(signal.SIGTERM)
        except (AssertionError, OSError, subprocess.SubprocessError, psutil.Error) as error:
            return [f"the end of {daemon.log.stem}: {str(error)[:2000]}"]
        return []

    def left(self) -> list[str]:
        """Return what daemons left: processes, run folders, shared memory."""
        folders = [str(path) for path in self._run_folders()]
        shared = [p.name for name in sorted(self._folders) for p in SHM.glob(f"{name}_*")]
        processes = [f"{p.pid} {p.info['name']}" for p in psutil.process_iter(["name"]) if self._is_ours(p)]
        found = {"processes": processes, "folders": folders, "shared memory": shared}
        return [f"left behind: {len(what)} {kind}: {what[:5]}" for kind, what in found.items() if what]

    def _is_ours(self, process: psutil.Process) -> bool:
        if process.pid == os.getpid():
            return False
        try:
            return process.environ().get("TMPDIR") == str(self.folder)
        except (psutil.Error, OSError):
            return False

    def kill(self) -> None:
        """End what still lives, whatever state it is in, and clear up after it."""
        for daemon in self._daemons:
            daemon.kill()
        self._note_folders()
        for path in (path for name in self._folders for path in SHM.glob(f"{name}_*")):
            path.unlink(missing_ok=True)


@contextmanager
def laboratory(keep: Path | None = None) -> Iterator[Lab]:
    """Yield a lab that runs; its folder is removed at the end; the logs go to *keep* when that is given."""
    with opened(Lab(Path(tempfile.mkdtemp(prefix="fs-lab-"))), keep) as lab:
        yield lab


@contextmanager
def opened(lab: LabT, keep: Path | None) -> Iterator[LabT]:
    """Let *lab* run for the block; see laboratory()."""
    try:
        lab.begin()
        yield lab
    finally:
        lab.kill()
        if keep is not None:
            shutil.rmtree(keep, ignore_errors=True)
            keep.mkdir(parents=True)
            for log in lab.folder.glob("*.log"):
                shutil.copy(log, keep)
        shutil.rmtree(lab.folder, ignore_errors=True)
