"""The processes of real daemons: they start in order, die with their parent, and leave nothing behind."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests.conftest import Cluster
from tests.daemons import ROOT, Daemon, start

GONE_S = 15.0
PORTS = (
    "COORDINATOR_COORDINATOR_PORT",
    "COLLECTOR_COLLECTOR_PORT",
    "NODE_EDGE_NODE_PORT",
    "NODE_EDGE_DATA_PORT",
    "NODE_SERVER_NODE_PORT",
    "NODE_SERVER_DATA_PORT",
)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Daemon]:
    """config/demo.conf as it is shipped, but on ports that the kernel chooses and in a private folder."""
    environ = {f"FACESERVICE_{name}": "0" for name in PORTS}
    environ["FACESERVICE_DATABASE_DB_PATH"] = str(tmp_path / "demo.sqlite")
    environ["FACESERVICE_REPORTER_SPOOL_PATH"] = str(tmp_path / "spool")
    daemon = start(ROOT / "config/demo.conf", tmp_path, environ)
    yield daemon
    daemon.kill()


def test_the_demo_configuration_starts_all_under_one_supervisor(demo: Daemon) -> None:
    """SIGINT to the whole group, as a terminal sends it, is an orderly end too."""
    demo.wait_ready(4)
    assert {ready.name for ready in demo.ready[:2]} == {"coordinator", "collector"}, "nodes come last"
    assert {ready.name for ready in demo.ready[2:]} == {"node 1", "node 2"}
    os.killpg(demo.process.pid, signal.SIGINT)
    demo.stop(signal.SIGINT)


def test_nothing_survives_a_killed_supervisor(demo: Daemon) -> None:
    demo.wait_ready(4)
    members = demo.members()
    assert len(members) > 8
    demo.process.kill()
    assert not psutil.wait_procs(members, timeout=GONE_S)[1]


def test_a_killed_node_takes_its_children_along(cluster: Cluster) -> None:
    members = cluster.edge.members()
    assert len(members) > 2, "agent, fork server, gateway"
    cluster.edge.process.kill()
    assert not psutil.wait_procs(members, timeout=GONE_S)[1]
    cluster.edge.kill()


def test_the_nodes_of_a_cluster_make_themselves_known(cluster: Cluster) -> None:
    """Under the addresses that their ready lines say."""
    nodes = requests.get(f"{cluster.url}/nodes", timeout=5).json()["nodes"]
    urls = {node["node_id"]: (node["control_url"], node["data_url"]) for node in nodes}
    for node_id, daemon in ((1, cluster.edge), (2, cluster.server)):
        assert urls.get(node_id) == (daemon.url, daemon.data_url)
