"""GPU figures on their way from NVML through sampler, reporter and collector into the tables, and to the coordinator.

No GPU is needed: a small library in C stands in for NVIDIA's, found by the loader like the real one.
"""

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import COLLECTOR, COORDINATOR, DATABASE, NODE, StartDaemon, wait_for_nodes
from tests.daemons import ROOT
from tests.e2e.live_session import LiveSession, wait_for

SOURCE = Path(__file__).with_name("nvml_stand_in.c")
PHOTO = ROOT / "samples/photos/obama2.jpg"


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Compile the stand-in; returns its folder."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build the NVML stand-in with (apt-get install gcc)")
    folder = tmp_path / "nvml"
    folder.mkdir()
    made = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(folder / "libnvidia-ml.so.1"), str(SOURCE)]
    subprocess.run(made, check=True, timeout=60)
    return folder


def test_gpu_figures_reach_the_tables_and_the_coordinator(
    library: Path, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    more = tmp_path / "more.txt"
    more.write_text("")
    coordinator = start_daemon((COORDINATOR + DATABASE).format(folder=tmp_path), name="coordinator")
    collector = start_daemon((COLLECTOR + DATABASE).format(folder=tmp_path), name="collector")
    environ = {
        "LD_LIBRARY_PATH": str(library),
        "NVIDIA_STAND_IN": str(more),
        "FACESERVICE_NODE_EDGE_COORDINATOR_URL": coordinator.url,
        "FACESERVICE_REPORTER_COLLECTOR_PORT": collector.url.rpartition(":")[2],
    }
    node = NODE.replace("{name}", "edge").replace("{node_id}", "1").format(folder=tmp_path, root=ROOT)
    start_daemon(node, environ, "edge")
    wait_for_nodes(coordinator.url, {1})

    def ask(sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{tmp_path}/faceservice.sqlite?mode=ro", uri=True)) as database:
            return database.execute(sql).fetchall()

    (shown,) = requests.get(f"{coordinator.url}/nodes", timeout=10).json()["nodes"]
    assert shown["hardware"]["gpus"] == [
        {"gpu_id": 0, "name": "Stand-in 0", "mem_total": 8192},
        {"gpu_id": 1, "name": "Stand-in 1", "mem_total": 16384},
    ]
    loads = [{"gpu_id": 0, "util": 40.0, "mem_util": 25.0}, {"gpu_id": 1, "util": 60.0, "mem_util": 25.0}]
    assert shown["load"]["gpus"] == loads
    assert 'gpu_id="1",node_id="1",node_name="edge"} 0.6' in requests.get(f"{coordinator.url}/metrics", timeout=10).text
    columns = "gpu_util, gpu_mem_util, gpu_clock, gpu_power"
    wait_for(lambda: ask("SELECT 1 FROM gpu_info LIMIT 1"), "rows of gpu_info")
    figures = ask(f"SELECT DISTINCT node_id, gpu_id, {columns} FROM gpu_info ORDER BY gpu_id")
    assert figures == [(1, 0, 40, 25, 1350, 61), (1, 1, 60, 25, 1450, 0)], "the second card does not measure power"
    assert ask(f"SELECT DISTINCT {columns} FROM sys_info") == [(50, 25, 1400, 61)], "means, and power as sum"

    if (ROOT / "models/yolov3-tiny.weights").is_file():
        request = {"service": "object_detection", "variant": "yolov3_tiny_416", "params": {1: {"gpu": True}}}
        refused = requests.post(f"{coordinator.url}/sessions", json=request, timeout=60)
        assert (refused.status_code, "set gpu to false" in refused.text) == (507, True), "a GPU, but no CUDA for OpenCV"

    session = LiveSession.create(coordinator.url, "face_detection", variant="haar")
    with closing(session):
        assert session.post(PHOTO.read_bytes()).status_code == 200
        processes = requests.get(f"{control_url(coordinator.url)}/sessions/{session.id}", timeout=10).json()["handlers"]
        pids = {h["handler_id"]: h["pid"] for h in processes}
        more.write_text(f"lost 1\n{pids[1]} 33 12\n")
        used = f"SELECT gpu_util, gpu_mem_util FROM proc_info WHERE session_id = {session.id} AND handler_id = "
        wait_for(lambda: (33, 12) in ask(used + "1"), "the figures of the handler's process", lambda: ask(used + "1"))
        assert set(ask(used + "0")) == {(None, None)}, "another process uses no GPU"
    alone = f"SELECT {columns} FROM sys_info ORDER BY timestamp DESC LIMIT 1"
    wait_for(lambda: ask(alone) == [(40, 25, 1350, 61)], "figures without the lost GPU", lambda: ask(alone))


def control_url(coordinator: str) -> str:
    """Return the control URL of the one node."""
    (node,) = requests.get(f"{coordinator}/nodes", timeout=10).json()["nodes"]
    return str(node["control_url"])
