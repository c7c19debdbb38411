"""How long a session takes to run, how soon its first result comes, and what a node costs that does nothing.

    python3 -m benchmarks.start [--runs 5] [--json FILE]

Starts coordinator, collector and two nodes on free ports with SQLite. A session is face_recognition (5 handlers)
with two handlers on node 1 and three on node 2; the time counts from POST /sessions to its answer, models loaded.
The gallery's vectors are cached before (one session that is not counted). Idle: CPU of all processes of one node
over ten seconds, and the sum of their PSS.
"""

import argparse
import json
import os
import shutil
import statistics
import time
from pathlib import Path

import psutil
import requests

from benchmarks.common import Outcome, Row, Say, Scale
from client.coordinator import Coordinator, Session
from client.demo.daemons import Daemons, free_ports, new_folder
from wire.messages import SessionRequest
from wire.settings import load

ROOT = Path(__file__).resolve().parent.parent
IDLE_S = 10.0
START_LIMIT_S, IDLE_CPU_LIMIT, IDLE_MB_LIMIT = 3.0, 1.0, 150.0


def node_processes(supervisor: int, name: str) -> list[psutil.Process]:
    """Return the agent of the node *name* under *supervisor*, and all its descendants."""
    for process in psutil.Process(supervisor).children(recursive=True):
        if f"node:{name}" in process.cmdline():
            return [process, *process.children(recursive=True)]
    raise LookupError(f"no agent of node {name}")


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """Return user + system seconds of *processes*."""
    return sum(sum(p.cpu_times()[:2]) for p in processes)


def idle(supervisor: int) -> dict[str, float]:
    """Return % of a core and MB (PSS) of the node `edge` while nothing happens."""
    processes = node_processes(supervisor, "edge")
    before = cpu_seconds(processes)
    time.sleep(IDLE_S)
    return {
        "cpu_percent": (cpu_seconds(processes) - before) / IDLE_S * 100,
        "pss_mb": sum(p.memory_full_info().pss for p in processes) / 1e6,
        "processes": len(processes),
    }


def one_start(coordinator: Coordinator, photo: bytes) -> dict[str, float]:
    """Create a session over two nodes, post one photo, delete it; seconds from POST /sessions."""
    request = SessionRequest(service="face_recognition", pin={0: 1, 1: 1, 2: 2, 3: 2, 4: 2})
    start = time.monotonic()
    session = coordinator.create(request)
    running = time.monotonic() - start
    post(session, photo)
    first = time.monotonic() - start
    coordinator.delete(session.session_id)
    return {"running_s": running, "first_result_s": first}


def post(session: Session, photo: bytes) -> None:
    """Post a photo; raises when no result comes back."""
    answer = requests.post(session.session_url, data=photo, headers={"Content-Type": "image/jpeg"}, timeout=60)
    answer.raise_for_status()
    if answer.json()["status"] != "ok":
        raise RuntimeError(answer.text)


def measure(runs: int) -> dict[str, float]:
    """Return medians, and the worst start."""
    folder = new_folder()
    config = ROOT / "config" / "demo.conf"
    environ = {
        **free_ports(load(config, os.environ)),
        "FACESERVICE_DATABASE_DB_PATH": str(folder / "benchmark.sqlite"),
        "FACESERVICE_REPORTER_SPOOL_PATH": str(folder / "spool"),
    }
    daemons = Daemons(ROOT, config, environ, folder / "daemons.log")
    try:
        coordinator = Coordinator(daemons.wait_ready(4)["coordinator"].url)
        while len([n for n in coordinator.list_of("/nodes", "nodes") if n["state"] == "up"]) < 2:
            daemons.pause()
        figures = idle(daemons.pid)
        photo = (ROOT / "samples" / "photos" / "obama2.jpg").read_bytes()
        one_start(coordinator, photo)
        starts = [one_start(coordinator, photo) for _ in range(runs)]
    finally:
        fault = daemons.stop()
    if fault:
        raise RuntimeError(fault)
    shutil.rmtree(folder, ignore_errors=True)
    figures |= {key: statistics.median(s[key] for s in starts) for key in starts[0]}
    return figures | {"running_worst_s": max(s["running_s"] for s in starts)}


def run(scale: Scale, say: Say) -> Outcome:
    """Measure as one benchmark of the suite."""
    found = measure(scale.rounds)
    rows = [
        Row("session of 5 handlers running, models loaded", found["running_s"], "s", at_most=START_LIMIT_S),
        Row("time to its first result", found["first_result_s"], "s"),
        Row("idle node: CPU of a core", found["cpu_percent"], "%", at_most=IDLE_CPU_LIMIT),
        Row("idle node: memory of its processes", found["pss_mb"], "MB", at_most=IDLE_MB_LIMIT),
    ]
    for row in rows:
        say(f"{row.what}: {row.value:.2f} {row.unit}")
    return Outcome(rows, dict(found))


def main() -> None:
    """Measure, print, and say whether the promises hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="sessions to start")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    figures = measure(options.runs)
    rows = (
        ("session of 5 handlers running (s)", figures["running_s"], START_LIMIT_S),
        ("the slowest of them (s)", figures["running_worst_s"], None),
        ("first result (s)", figures["first_result_s"], None),
        ("idle node: CPU (% of a core)", figures["cpu_percent"], IDLE_CPU_LIMIT),
        ("idle node: PSS of its processes (MB)", figures["pss_mb"], IDLE_MB_LIMIT),
    )
    for name, value, limit in rows:
        verdict = "" if limit is None else f"  at most {limit:g}: {'pass' if value <= limit else 'FAIL'}"
        print(f"{name:40} {value:8.2f}{verdict}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
