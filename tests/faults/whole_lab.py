"""The whole system in a laboratory: two coordinators and a collector on a MariaDB of its own, three nodes, doors.

    clients ──▶ door n ──▶ node n ◀── link n ◀── other nodes, coordinators          each node connects from an address
    node n ──▶ control n ──▶ coordinators      node n ──▶ report n ──▶ collector    of its own (sabotage.c), so that
    coordinators, collector ──▶ query ──▶ MariaDB                                   it can be cut off from all others

Where the user may (root), a node has a /dev/shm of its own, which is small.
"""

import functools
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import Engine

from tests.conftest import wait_for_nodes
from tests.daemons import Daemon
from tests.faults.lab import COORDINATOR, HERE, NODE, Lab, link_host, opened
from tests.faults.plans import Part
from tests.faults.relay import Door
from tests.faults.sabotage import Saboteur
from tests.faults.whole_plans import COORDINATORS, NODES
from tests.integration.mariadb import MariaDB, free_port, mysql_settings
from tests.integration.mariadb import opened as reachable
from wire.database import connect, migrate

FRONT, QUERY = "127.0.5.1", "127.0.4.1"  # where clients reach a coordinator, and daemons the database
CONTROL, REPORT, SOURCE = "127.0.2.{}", "127.0.3.{}", "127.0.6.{}"  # of node n
SHM_MB = 128
BACK_S = 60.0  # a killed daemon must be ready again within this
RESTART_S = 0.5  # between attempts to start, as a service manager has it
OWN_SHM = (
    "unshare", "-m", "--propagation", "private", "sh", "-c",
    f'mount -t tmpfs -o size={SHM_MB}m tmpfs /dev/shm && exec "$@"', "sh",
)  # fmt: skip

DATABASE = """
[database]
db_engine = mysql
db_addr = {query}
db_port = {db.db_port}
db_user = {db.db_user}
db_passwd = {db.db_passwd}
db_schema = {db.db_schema}
"""
COLLECTOR = """
[collector]
collector_port = {port}
node_path = {folder}/nodes
"""
REPORTER = """
[reporter]
collector_addr = {report}
collector_port = {collector}
collect_info_period = 0.5
send_report_period = 0.5
spool_path = {folder}/spool
"""
Unit = tuple[Part, int]  # a daemon: its kind and number


class WholeLab(Lab):
    """Daemons, doors and saboteurs of one run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.node_ids = NODES
        self.units: dict[Unit, Daemon] = {}
        self.saboteurs: dict[Unit, Saboteur] = {}
        self.locks: dict[Unit, threading.Lock] = {}  # held while a daemon is dead
        self._unit_ports: dict[Unit, tuple[int, int]] = {}
        self._control_ways: dict[int, list[Door]] = {}
        self._ended = threading.Event()
        self.mariadb: MariaDB | None = None

    def begin(self) -> None:
        """Start everything: the database first, the rest side by side."""
        self.relay.start()
        self._begin_database()
        others: list[Unit] = [*((Part.COORDINATOR, n) for n in COORDINATORS), (Part.COLLECTOR, 0)]
        self._unit_ports.update({unit: (free_port(), 0) for unit in others})
        self._front = self.relay.open((FRONT, self._port(1)), *((HERE, self._port(n)) for n in COORDINATORS))
        for number in NODES:
            self._open_ways(number)
        starting = {unit: self._start_unit(unit) for unit in [*others, *((Part.NODE, n) for n in NODES)]}
        for unit, daemon in starting.items():
            self._ready(unit, daemon.wait_ready(timeout=BACK_S))
        for number in NODES:
            self._open_doors(number, self.nodes[number])
        for number in COORDINATORS:
            wait_for_nodes(self.units[Part.COORDINATOR, number].url, set(NODES), timeout=BACK_S)
        self._note_folders()

    def _begin_database(self) -> None:
        folder = reachable_folder(self.folder / "db")
        self.mariadb = MariaDB(folder)
        self.locks[Part.DATABASE, 0] = threading.Lock()
        self._settings = mysql_settings(self.mariadb, self.mariadb.new_schema())
        engine = self.engine()
        migrate(engine)
        engine.dispose()
        door = self.relay.open((QUERY, self.mariadb.port), (HERE, self.mariadb.port))
        self.doors[Part.QUERY, 0] = door

    def engine(self) -> Engine:
        """Return an engine that no fault of connections is in the way of."""
        return connect(self._settings)

    @property
    def url(self) -> str:
        """Where the first coordinator that takes connections answers."""
        return f"http://{FRONT}:{self._front.at[1]}"

    def urls(self) -> list[str]:
        """Return the coordinators' own URLs."""
        return [f"http://{HERE}:{self._port(n)}" for n in COORDINATORS]

    # --- doors

    def _port(self, number: int) -> int:
        return self._unit_ports[Part.COORDINATOR, number][0]

    def _open_ways(self, number: int) -> None:
        """Open the doors by which a node reaches coordinators and collector."""
        for coordinator in COORDINATORS:
            port = self._port(coordinator)
            self._control_ways.setdefault(number, []).append(
                self.relay.open((CONTROL.format(number), port), (HERE, port))
            )
        port = self._unit_ports[Part.COLLECTOR, 0][0]
        self.doors[Part.REPORT, number] = self.relay.open((REPORT.format(number), port), (HERE, port), recorded=True)

    def ways(self, part: Part, node_id: int) -> list[Door]:
        """Return the doors that *part* of a node is about."""
        if part is Part.CONTROL:
            return [self.doors[part, node_id], *self._control_ways[node_id]]
        if part is Part.APART:
            own = [self.doors[p, node_id] for p in (Part.LINK, Part.DOOR, Part.CONTROL, Part.REPORT)]
            return [*own, *self._control_ways[node_id], self.relay.source(SOURCE.format(node_id))]
        return super().ways(part, node_id)

    # --- daemons

    def bring_up(self, unit: Unit) -> None:
        """Start a daemon until it is ready, as a service manager does. Raises AssertionError when it does not come."""
        deadline = time.monotonic() + BACK_S
        while not self._ended.is_set():
            daemon = self._start_unit(unit)
            try:
                self._ready(unit, daemon.wait_ready(timeout=BACK_S))
            except AssertionError:
                daemon.kill()
                if time.monotonic() > deadline:
                    raise
                self._ended.wait(RESTART_S)
            else:
                return

    def _start_unit(self, unit: Unit) -> Daemon:
        part, number = unit
        name = f"{part}-{number}"
        if unit not in self.saboteurs:
            spool = self.folder / "spool" / str(number)
            self.saboteurs[unit] = Saboteur(self.folder / f"orders-{name}", spool, SOURCE.format(number))
            self.locks[unit] = threading.Lock()
        environ = self.saboteurs[unit].environ()
        if part is not Part.NODE:
            environ.pop("SABOTAGE_SOURCE", None)
        under = OWN_SHM if part is Part.NODE and may_mount() else ()
        daemon = self.units[unit] = self._start(name, self._text(unit), environ, under)
        return daemon

    def _ready(self, unit: Unit, daemon: Daemon) -> None:
        """Note where the daemon listens, so that it comes back there."""
        data = urlsplit(daemon.data_url).port or 0 if unit[0] is Part.NODE else 0
        self._unit_ports[unit] = urlsplit(daemon.url).port or 0, data
        if unit[0] is Part.NODE:
            self.nodes[unit[1]] = daemon

    def _text(self, unit: Unit) -> str:
        part, number = unit
        port, data_port = self._unit_ports.get(unit, (0, 0))
        database = DATABASE.format(db=self._settings, query=QUERY)
        if part is Part.COORDINATOR:
            return COORDINATOR.format(port=port, folder=self.folder) + database
        if part is Part.COLLECTOR:
            return COLLECTOR.format(port=port, folder=self.folder) + database
        return (NODE + REPORTER).format(
            node_id=number,
            addr=link_host(number),
            port=port,
            data_port=data_port,
            coordinator=", ".join(f"http://{door.at[0]}:{door.at[1]}" for door in self._control_ways[number]),
            report=REPORT.format(number),
            collector=self._unit_ports[Part.COLLECTOR, 0][0],
            folder=self.folder,
        )

    def pids(self, unit: Unit) -> list[int]:
        """Return the processes of a daemon that live; its first one first."""
        if unit[0] is Part.DATABASE:
            return [pid] if self.mariadb and (pid := self.mariadb.pid) else []
        daemon = self.units[unit]
        return sorted((p.pid for p in daemon.members()), key=lambda pid: pid != daemon.process.pid)

    def shm(self, node_id: int) -> Path | None:
        """Return the node's own shared memory, or None."""
        path = Path(f"/proc/{self.nodes[node_id].process.pid}/root/dev/shm")
        own = path.is_dir() and os.stat(path).st_dev != os.stat("/dev/shm").st_dev
        return path if own else None

    # --- the end

    def stop_nodes(self) -> list[str]:
        """Stop the nodes in order, so that their last reports are sent; returns what went wrong."""
        return self._stop_all(self.nodes.values())

    def end(self) -> list[str]:
        """Stop all in order; returns what was left behind, or did not end in order."""
        faults = [*self.stop_nodes(), *self._stop_all(self.units.values()), *super().end()]
        if self.mariadb is not None:
            self.mariadb.stop()
        return faults

    def _stop_all(self, daemons: Iterable[Daemon]) -> list[str]:
        """Stop them side by side."""
        with ThreadPoolExecutor() as pool:
            return [fault for faults in pool.map(self._stop, daemons) for fault in faults]

    def kill(self) -> None:
        """End what still lives."""
        self._ended.set()
        super().kill()
        if self.mariadb is not None:
            self.mariadb.kill()


@functools.cache
def may_mount() -> bool:
    """Return whether a daemon can have a /dev/shm of its own here."""
    return shutil.which("unshare") is not None and subprocess.run([*OWN_SHM, "true"], check=False).returncode == 0


def reachable_folder(folder: Path) -> Path:
    """Return a new folder that the database's user can reach."""
    folder.mkdir()
    return reachable(folder)


@contextmanager
def whole_laboratory(keep: Path | None = None) -> Iterator[WholeLab]:
    """Yield a whole system that runs; see laboratory()."""
    with opened(WholeLab(Path(tempfile.mkdtemp(prefix="fs-lab-"))), keep) as lab:
        yield lab
