"""A node that learns of a plan later than the entry, since it has a model to load: no frame waits for the entry's own
look at what is overdue.
"""

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

from node.gateway.care import RESEND_S
from tests.conftest import StartDaemon
from tests.daemons import ROOT, Daemon
from tests.e2e.test_node_agent import NOBODY, command, picture, put, wait_for

NODE = """
[node n{node_id}]
node_id = {node_id}
node_port = 0
data_port = 0
handler_type_path = {folder}/types
model_path = {folder}
coordinator_url = {coordinator}

[reporter]
enabled = false
"""
SLOW_START = 950
ENTRY, KEPT, MOVED, EXIT = range(4)  # handlers, one behind the other
HERE, THERE, GONE = 1, 2, 3  # nodes; nobody listens on the last
TYPES = {ENTRY: 6, KEPT: 4, MOVED: SLOW_START, EXIT: 5}
FRAMES = 4


def test_frames_that_went_by_an_older_plan_are_sent_again_at_once(start_daemon: StartDaemon, tmp_path: Path) -> None:
    nodes = two_nodes(start_daemon, tmp_path)
    before = {ENTRY: HERE, KEPT: THERE, MOVED: GONE, EXIT: HERE}
    for node_id, node in nodes.items():
        assert put(node, 1, plan(nodes, node_id, before, epoch=1)).status_code == 200
        assert command(node, 1, "start") == 200
    after = before | {MOVED: THERE}
    with ThreadPoolExecutor(FRAMES + 1) as pool:
        late = pool.submit(put, nodes[THERE], 1, plan(nodes, THERE, after, epoch=2))  # the moved handler loads
        assert put(nodes[HERE], 1, plan(nodes, HERE, after, epoch=2)).status_code == 200
        frames = [pool.submit(post, nodes[HERE]) for _ in range(FRAMES)]
        time.sleep(0.5)  # they reach the kept handler, which only knows of the node that is gone
        assert not late.done(), "the other plan came too soon for this test"
        assert late.result(30).json()["state"] == "running"
        answers = [frame.result(60) for frame in frames]
    assert [(a["status"], a["epoch"]) for a in answers] == [("ok", 2)] * FRAMES
    assert max(a["latency_ms"] for a in answers) < 1000 * RESEND_S
    wait_for(lambda: books(nodes[HERE])["delivered"] == FRAMES)
    assert 1 <= books(nodes[HERE])["resent"] <= FRAMES, "those alone that went by the older plan, once"


def two_nodes(start_daemon: StartDaemon, folder: Path) -> dict[int, Daemon]:
    shutil.copytree(ROOT / "config/handlers", folder / "types")
    slow = {
        "handler_type": SLOW_START, "name": "SlowStartHandler", "class": "tests.faults.handlers:SlowStartHandler",
        "inputs": ["Image"], "outputs": ["Image"], "params": {}, "profile": {"ms": 0.1, "mem_mb": 50},
    }  # fmt: skip
    (folder / "types" / f"{SLOW_START}.json").write_text(json.dumps(slow))
    texts = {n: NODE.format(node_id=n, folder=folder, coordinator=NOBODY) for n in (HERE, THERE)}
    return {n: start_daemon(text, name=f"n{n}") for n, text in texts.items()}


def plan(nodes: dict[int, Daemon], node_id: int, where: dict[int, int], *, epoch: int) -> dict[str, Any]:
    """Return the plan of one node after a loss: no older epoch is welcome."""
    urls = {n: node.data_url for n, node in nodes.items()} | {GONE: NOBODY}
    links = [{"source_handler": h, "target_handler": h + 1} for h in (ENTRY, KEPT, MOVED)]
    handlers = [{"handler_id": h, "handler_type": t, "params": {}} for h, t in TYPES.items()]
    handlers[KEPT]["params"] = {"width": 32, "height": 24}
    return {
        "epoch": epoch,
        "accept_from": epoch,
        "graph": {"handlers": handlers, "links": links},
        "local": [h for h, n in where.items() if n == node_id],
        "routes": {str(h): [{"node_id": n, "url": urls[n]}] for h, n in where.items()},
        "entry": {"node_id": HERE, "url": urls[HERE], "key": "key", "handler_id": ENTRY},
        "results": [{"handler_id": EXIT, "output": 0}],
    }


def books(node: Daemon) -> Any:
    return requests.get(f"{node.url}/sessions/1", timeout=10).json()["books"]


def post(node: Daemon) -> Any:
    headers = {"Content-Type": "image/jpeg"}
    return requests.post(f"{node.data_url}/sessions/1/key", data=picture(), headers=headers, timeout=60).json()
