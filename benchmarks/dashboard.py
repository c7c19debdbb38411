"""What the dashboard costs the coordinator: `python3 -m benchmarks.dashboard`, with 100 nodes and 500 sessions.

The sessions are rows of the database; the nodes are heartbeats that this script plays, a second apart, with figures
that change each time. First paint: the page, its files and the first event, which no other page has asked for before.
A viewer's cost: the coordinator's CPU while VIEWERS pages follow, less that while none does, in turn.
"""

import json
import random
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests

from benchmarks.common import cpu_of
from coordinator.records import NodeAddress, Planned, Prediction, SessionRecord
from coordinator.sessions import State
from coordinator.store import Store
from tests.daemons import Daemon, start
from wire import database
from wire.messages import Graph, HandlerSpec, SessionRequest
from wire.settings import DatabaseSettings

NODES, SESSIONS = 100, 500
ROUNDS, VIEWERS, WATCHED_S = 5, 4, 4.0
CONFIG = """
[coordinator]
coordinator_port = 0
node_path = {folder}/nodes

[database]
db_engine = sqlite
db_path = {folder}/faceservice.sqlite
"""


def add_sessions(folder: Path) -> None:
    """Write SESSIONS running sessions, each on two nodes."""
    engine = database.connect(DatabaseSettings(db_engine="sqlite", db_path=folder / "faceservice.sqlite"))
    store = Store(engine)
    for n in range(SESSIONS):
        store.add_session(_session(n))
    engine.dispose()


def _session(n: int) -> SessionRecord:
    nodes = [n % NODES + 1, (n + 1) % NODES + 1]
    graph = Graph(handlers=[HandlerSpec(handler_id=i, handler_type=6, handler_name=f"step {i}") for i in range(2)])
    plan = Planned(
        graph=graph,
        results=[],
        entry_handler=0,
        entry_node=nodes[0],
        placement={i: [node] for i, node in enumerate(nodes)},
        nodes={node: NodeAddress(control_url="", data_url="", boot_id="played") for node in nodes},
        algorithm="static",
        predicted=Prediction(latency_ms=50, fps=20, accuracy=0.9, basis="prior"),
        explanation=[],
    )
    return SessionRecord(
        session_id=0, session_key=f"key-{n}", service="face_detection", variant="haar", state=State.RUNNING, epoch=1,
        accept_from=1, request=SessionRequest(service="face_detection"), plan=plan, created=time.time(),
        updated=time.time(),
    )  # fmt: skip


class Nodes:
    """NODES played nodes, each heard once a second while `beating`."""

    def __init__(self, url: str) -> None:
        self._url, self._http, self._random = url, requests.Session(), random.Random(1)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def beat(self) -> None:
        """Send one heartbeat of each. Raises HTTPError."""
        for node_id in range(1, NODES + 1):
            self._http.post(
                f"{self._url}/nodes/{node_id}/heartbeat", json=self._beat(node_id), timeout=30
            ).raise_for_status()

    def _beat(self, node_id: int) -> dict[str, Any]:
        entries = {n + 1 for n in range(SESSIONS) if n % NODES + 1 == node_id}
        others = {n + 1 for n in range(SESSIONS) if (n + 1) % NODES + 1 == node_id}
        return {
            "node_id": node_id, "node_name": f"node-{node_id}", "boot_id": "played", "timestamp": time.time(),
            "control_url": "http://127.0.0.1:9", "data_url": "http://127.0.0.1:9",
            "hardware": {"cpus": 8, "mem_total": 32000},
            "load": {"cpu_util": self._random.uniform(0, 100), "mem_util": 40.0},
            "sessions": [self._part(s, s in entries) for s in sorted(entries | others)],
        }  # fmt: skip

    def _part(self, session_id: int, entry: bool) -> dict[str, Any]:
        part: dict[str, Any] = {"session_id": session_id, "epoch": 1, "state": "running", "entry": entry}
        if entry:
            frames = int(time.time() * 10) % 10**8
            part["books"] = {"frames_in": frames, "delivered": frames - 3, "in_flight": 3}
            part |= {"fps": self._random.uniform(9, 11), "latency_ms": {"p50": 40.0, "p95": 60.0}}
        return part

    def __enter__(self) -> "Nodes":
        self.beat()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(30)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            due = time.monotonic() + 1.0
            self.beat()


def first_paint(url: str) -> int:
    """Fetch what a browser does until it shows everything; return the bytes."""
    with requests.Session() as http:
        page = http.get(f"{url}/", timeout=30).content
        size, seen, wanted = len(page), set[str](), re.findall(rb"/?dashboard/([\w.-]+)", page)
        while wanted:
            name = wanted.pop().decode()
            if name in seen:
                continue
            seen.add(name)
            data = http.get(f"{url}/dashboard/{name}", timeout=30).content
            size += len(data)
            wanted += re.findall(rb"""["']\./([\w.-]+\.js)["']""", data)
        with http.get(f"{url}/live", stream=True, timeout=30) as live:
            for line in live.iter_lines(chunk_size=1 << 16):
                size += len(line) + 1
                if line.startswith(b"data:"):
                    return size
    raise RuntimeError("the feed ended before its first event")


@contextmanager
def viewer(url: str) -> Iterator[None]:
    """A page that follows the feed."""
    response = requests.get(f"{url}/live", stream=True, timeout=30)
    thread = threading.Thread(target=lambda: _drain(response), daemon=True)
    thread.start()
    try:
        yield
    finally:
        response.raw.close()
        thread.join(10)


def _drain(response: requests.Response) -> None:
    try:
        for _ in response.iter_content(1 << 16):
            pass
    except (requests.RequestException, AttributeError, ValueError):
        return  # closed by viewer()


def used(pids: list[int], seconds: float) -> float:
    """Return the share of a core (%) that *pids* use over *seconds*."""
    before, begin = cpu_of(pids), time.perf_counter()
    time.sleep(seconds)
    return 100 * (cpu_of(pids) - before) / (time.perf_counter() - begin)


def measure(daemon: Daemon) -> dict[str, float]:
    """Return bytes and CPU of a first paint, and CPU of a viewer; medians of ROUNDS."""
    pids = [p.pid for p in daemon.members()]
    paints, sizes, each = [], [], []
    nodes = Nodes(daemon.url)
    for _ in range(ROUNDS):
        nodes.beat()
        time.sleep(1.1)  # rows that were read for the last paint are no longer used
        before = cpu_of(pids)
        sizes.append(first_paint(daemon.url))
        paints.append((cpu_of(pids) - before) * 1000)
    with Nodes(daemon.url):
        for _ in range(ROUNDS):
            alone = used(pids, WATCHED_S)
            with ExitStack() as stack:
                for _ in range(VIEWERS):
                    stack.enter_context(viewer(daemon.url))
                time.sleep(1.5)  # the first events are over
                each.append((used(pids, WATCHED_S) - alone) / VIEWERS)
    return {
        "first_paint_bytes": max(sizes),
        "first_paint_cpu_ms": round(statistics.median(paints), 1),
        "viewer_percent_of_core": round(statistics.median(each), 2),
    }


def main() -> int:
    """Measure, print one line of JSON, and return 1 when a promise is broken."""
    with tempfile.TemporaryDirectory(prefix="fs-bench-") as name:
        folder = Path(name)
        (folder / "nodes").mkdir()
        config = folder / "coordinator.conf"
        config.write_text(CONFIG.format(folder=folder))
        start(config, folder).wait_ready().stop()  # makes the tables
        add_sessions(folder)
        daemon = start(config, folder).wait_ready()
        try:
            found = measure(daemon)
        finally:
            daemon.stop()
    sys.stdout.write(json.dumps(found) + "\n")
    kept = found["first_paint_bytes"] <= 300_000 and found["first_paint_cpu_ms"] <= 200
    return 0 if kept and found["viewer_percent_of_core"] <= 2 else 1


if __name__ == "__main__":
    sys.exit(main())
