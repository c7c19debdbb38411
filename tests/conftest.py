"""Fixtures that start real daemons, each with a private configuration and ports that the kernel chooses."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from hypothesis import HealthCheck, settings

from tests.daemons import ROOT, Daemon, start

# Several test processes share the cores: how long an example takes says nothing.
settings.register_profile("shared cores", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared cores")

StartDaemon = Callable[..., Daemon]

DATABASE = """
[database]
db_engine = sqlite
db_path = {folder}/faceservice.sqlite
"""
COORDINATOR = """
[coordinator]
coordinator_port = 0
node_path = {folder}/nodes
"""
COLLECTOR = """
[collector]
collector_port = 0
node_path = {folder}/nodes
"""
NODE = """
[node {name}]
node_id = {node_id}
node_port = 0
data_port = 0
labels = {name}
gallery_path = {root}/samples/gallery
source_path = {root}/samples, {folder}/..

[reporter]
send_report_period = 0.5
collect_info_period = 0.5
spool_path = {folder}/spool
"""


@dataclass
class Cluster:
    """A coordinator, a collector and two nodes on one SQLite file."""

    folder: Path
    coordinator: Daemon
    collector: Daemon
    edge: Daemon  # node 1
    server: Daemon  # node 2
    restart: Callable[[str], Daemon]  # start "coordinator", "collector", "edge" or "server" again, on the same ports

    @property
    def url(self) -> str:
        """The coordinator's URL."""
        return self.coordinator.url

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder / "faceservice.sqlite"


@pytest.fixture
def start_daemon(tmp_path: Path) -> Iterator[StartDaemon]:
    """Start a daemon from a configuration's text: start_daemon(text, environ=None, name="daemon", count=1).

    At the end each is stopped by SIGTERM, last first, and must leave with status 0 and no process behind.
    """
    yield from starting(tmp_path)


def starting(folder: Path) -> Iterator[StartDaemon]:
    """Yield what starts daemons in *folder*; goes on to end them, for fixtures of a module's or a session's own."""
    started: list[Daemon] = []
    (folder / "nodes").mkdir(exist_ok=True)

    def begin(text: str, environ: Mapping[str, str] | None = None, name: str = "daemon", count: int = 1) -> Daemon:
        config = folder / f"{name}.conf"
        config.write_text(text)
        started.append(start(config, folder, environ))
        return started[-1].wait_ready(count)

    try:
        yield begin
        for daemon in reversed(started):
            daemon.stop(signal.SIGTERM)
    finally:
        for daemon in started:
            daemon.kill()


@pytest.fixture
def coordinator(start_daemon: StartDaemon, tmp_path: Path) -> Daemon:
    """A coordinator on SQLite, without nodes."""
    return start_daemon((COORDINATOR + DATABASE).format(folder=tmp_path), name="coordinator")


@pytest.fixture
def collector(start_daemon: StartDaemon, tmp_path: Path) -> Daemon:
    """A collector on SQLite."""
    return start_daemon((COLLECTOR + DATABASE).format(folder=tmp_path), name="collector")


@pytest.fixture
def cluster(start_daemon: StartDaemon, tmp_path: Path) -> Cluster:
    """Coordinator, collector and two nodes, started one after the other."""
    return _cluster(start_daemon, tmp_path)


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for all tests of a module that leave it as they found it."""
    folder = tmp_path_factory.mktemp("cluster")
    starter = starting(folder)
    yield _cluster(next(starter), folder)
    next(starter, None)


def _cluster(begin: StartDaemon, folder: Path) -> Cluster:
    texts = {
        "coordinator": COORDINATOR + DATABASE,
        "collector": COLLECTOR + DATABASE,
        "edge": NODE.replace("{name}", "edge").replace("{node_id}", "1"),
        "server": NODE.replace("{name}", "server").replace("{node_id}", "2"),
    }
    environs: dict[str, dict[str, str]] = {name: {} for name in texts}

    def start_one(name: str) -> Daemon:
        daemon = begin(texts[name].format(folder=folder, root=ROOT), environs[name], name)
        _pass_on(name, daemon, environs)
        return daemon

    daemons = {name: start_one(name) for name in texts}
    wait_for_nodes(daemons["coordinator"].url, {1, 2})
    return Cluster(folder=folder, restart=start_one, **daemons)


def wait_for_nodes(url: str, node_ids: set[int], timeout: float = 15.0) -> None:
    """Wait until the coordinator at *url* has heard *node_ids* and finds exactly those up."""
    until, up = time.monotonic() + timeout, set[int]()
    while time.monotonic() < until:
        nodes = requests.get(f"{url}/nodes", timeout=5).json()["nodes"]
        up = {node["node_id"] for node in nodes if node["state"] == "up"}
        if up == node_ids:
            return
        time.sleep(0.1)
    raise AssertionError(f"nodes {sorted(up)} are up, not {sorted(node_ids)}")


def _pass_on(name: str, daemon: Daemon, environs: dict[str, dict[str, str]]) -> None:
    """Have the others find *daemon*, and itself come back to the same ports."""
    port = daemon.url.rpartition(":")[2]
    if name in ("coordinator", "collector"):
        environs[name][f"FACESERVICE_{name.upper()}_{name.upper()}_PORT"] = port
    else:
        environs[name][f"FACESERVICE_NODE_{name.upper()}_NODE_PORT"] = port
        environs[name][f"FACESERVICE_NODE_{name.upper()}_DATA_PORT"] = daemon.data_url.rpartition(":")[2]
    for node in ("edge", "server"):
        if name == "coordinator":
            environs[node][f"FACESERVICE_NODE_{node.upper()}_COORDINATOR_URL"] = daemon.url
        elif name == "collector":
            environs[node]["FACESERVICE_REPORTER_COLLECTOR_PORT"] = port
