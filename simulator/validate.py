"""The simulator against the real system: python3 -m simulator.validate PICTURE --coordinator URL [--out FILE].

A session is pinned to two nodes of a running system. Frames come as a Poisson process: a few, of which those that met
no other tell what a frame takes alone (service times of each handler from the results' traces, and what the frame path
adds), then 30 % and 60 % of what its slowest handler can do. What came out is the recording; `--again FILE` compares
with one that is there. Wanted: p50 within 15 %, p95 within 25 % of what was measured.
`python3 -m benchmarks.validation` starts the system that is needed, too.
"""

import argparse
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import psutil
import requests
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from simulator.draws import generator
from simulator.recording import Loaded, Recording, Row, rows
from wire import auth
from wire.client import ControlClient
from wire.credential import Credential

LOADS, SECONDS = (0.3, 0.6), 60.0
FIRST, ALONE, ALONE_LOAD = 30, 200, 0.15  # frames one after the other, and frames at a low load
SKIPPED = 10  # first frames of all: caches are cold
CLIENTS = 32

Json = dict[str, Any]


class Frame(NamedTuple):
    """Seconds since the process of posts began; spans: handler -> ms."""

    due: float
    answered: float
    spans: dict[int, float]

    @property
    def latency_ms(self) -> float:
        """From the moment it was due."""
        return 1000 * (self.answered - self.due)


class Session:
    """A session on the real system, from open() to close()."""

    def __init__(self, coordinator: str, token: str | None, service: str, variant: str | None, picture: bytes) -> None:
        self._client, self._base = ControlClient(Credential(token)), coordinator.rstrip("/")
        self._picture, self._headers = picture, {"Content-Type": "image/jpeg", **auth.header(token)}
        self._asked = {"service": service} | ({"variant": variant} if variant else {})
        self._local = threading.local()
        self.placement: dict[int, int] = {}

    def open(self) -> None:
        """Pin the entry to the first node that is up, the next handler to the second."""
        nodes = msgspec.json.decode(self._client.get(f"{self._base}/nodes"))["nodes"]
        up = [n["node_id"] for n in nodes if n["state"] == "up"]
        if len(up) < 2:
            raise SystemExit(f"two nodes are needed, {len(up)} are up")
        pins = {"0": up[0], "1": up[1]}
        answer = self._client.post(f"{self._base}/sessions", self._asked | {"pin": pins}, timeout=120.0)
        self._session: Json = msgspec.json.decode(answer)
        self.placement = {int(h): nodes[0] for h, nodes in self._session["placement"].items()}

    def close(self) -> None:
        """Delete it."""
        self._client.delete(f"{self._base}/sessions/{self._session['session_id']}")
        self._client.close()

    def post(self) -> dict[int, float]:
        """Post the picture and wait for its result; returns handler -> ms by its trace."""
        if not hasattr(self._local, "http"):
            self._local.http = requests.Session()
        response = self._local.http.post(
            self._session["session_url"], data=self._picture, headers=self._headers, timeout=60
        )
        response.raise_for_status()
        return {s["handler_id"]: 1000 * (s["end"] - s["start"]) for s in response.json()["trace"]}


def record(session: Session, seconds: float) -> Recording:
    """Return what single frames take, and runs of *seconds* at each load."""
    busy = psutil.cpu_percent(1.0) / 100 * (os.cpu_count() or 1)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("frames one after the other")
        first = [session.post() for _ in range(SKIPPED + FIRST)][SKIPPED:]
        rate = ALONE_LOAD * capacity(first)
        bar.update(task, description="frames that meet no other", completed=10)
        single = alone(poisson(session, rate, ALONE / rate, 0))
        runs = []
        for number, load in enumerate(LOADS, 1):
            bar.update(task, description=f"{load:.0%} load", completed=100 * number / (1 + len(LOADS)))
            runs.append(loaded(load, poisson(session, load * capacity([f.spans for f in single]), seconds, number)))
    return Recording(
        date=time.strftime("%Y-%m-%d"),
        machine=f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        busy_cores=round(busy, 2),
        placement={h: session.placement[h] for h in single[0].spans},
        service_ms={h: [round(f.spans[h], 3) for f in single] for h in single[0].spans},
        beyond_ms=[round(f.latency_ms - sum(f.spans.values()), 3) for f in single],
        runs=runs,
    )


def capacity(spans: Sequence[dict[int, float]]) -> float:
    """Return the frames/s of the slowest handler."""
    return 1000 / max(statistics.fmean(s[h] for s in spans) for h in spans[0])


def alone(frames: Sequence[Frame]) -> list[Frame]:
    """Return the frames that came when all before them were answered; *frames* in the order they were due."""
    found, answered = [], 0.0
    for frame in frames:
        if frame.due >= answered:
            found.append(frame)
        answered = max(answered, frame.answered)
    return found


def loaded(load: float, frames: Sequence[Frame]) -> Loaded:
    """Return what is kept of a run."""
    return Loaded(
        load=load,
        due_s=[round(f.due, 5) for f in frames],
        latency_ms=[round(f.latency_ms, 3) for f in frames],
        service_ms={h: round(statistics.fmean(f.spans[h] for f in frames), 3) for h in frames[0].spans},
    )


def poisson(session: Session, rate: float, seconds: float, seed: int) -> list[Frame]:
    """Post at the moments of a Poisson process, whatever is still unanswered; returns the frames as they were due."""
    gaps = generator(seed).exponential(1 / rate, int(2 * rate * seconds) + 10)
    due = [t for t in np.cumsum(gaps).tolist() if t < seconds]
    never = threading.Event()
    begun = time.perf_counter()

    def one(at: float) -> Frame:
        spans = session.post()
        return Frame(at, time.perf_counter() - begun, spans)

    with ThreadPoolExecutor(CLIENTS) as pool:
        futures = []
        for at in due:
            never.wait(max(0.0, at - (time.perf_counter() - begun)))
            futures.append(pool.submit(one, at))
        return [f.result() for f in futures]


def table(found: Sequence[Row]) -> Table:
    """Return a row per load and percentile."""
    made = Table(caption="by the run: with the mean service times of the loaded run, as --from-live takes them")
    for name in ("load", "", "measured, ms", "simulated, ms", "error", "by the run, ms", "error", ""):
        made.add_column(name, justify="right")
    for r in found:
        made.add_row(
            f"{r.load:.0%}", f"p{r.percent}", f"{r.measured_ms:.1f}", f"{r.simulated_ms:.1f}", f"{r.error:+.1%}",
            f"{r.by_run_ms:.1f}", f"{r.error_by_run:+.1%}", "" if r.good else "missed",
        )  # fmt: skip
    return made


def main(arguments: list[str] | None = None) -> int:
    """Return 0 when all errors are within what is wanted, else 1."""
    args = _arguments(arguments)
    if args.again:
        recording = msgspec.json.decode(args.again.read_bytes(), type=Recording)
    else:
        session = Session(args.coordinator, args.token, args.service, args.variant, args.picture.read_bytes())
        session.open()
        try:
            recording = record(session, args.seconds)
        finally:
            session.close()
    found = rows(recording)
    if args.out:
        args.out.write_bytes(msgspec.json.encode(msgspec.structs.replace(recording, rows=found)) + b"\n")
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"{recording.date}, {recording.machine}, {recording.busy_cores:g} cores were busy before")
    console.print(table(found))
    return 0 if all(r.good for r in found) else 1


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="simulator.validate", description=(__doc__ or "").partition("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("picture", type=Path, nargs="?")
    what.add_argument("--again", type=Path, metavar="FILE", help="compare with a recording that is there")
    parser.add_argument("--coordinator", default="http://127.0.0.1:9002", metavar="URL")
    parser.add_argument("--token")
    parser.add_argument("--service", default="face_detection")
    parser.add_argument("--variant", help="yunet where the service is face_detection")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each load (60)")
    parser.add_argument("--out", type=Path, help="file for the recording, as JSON")
    args = parser.parse_args(arguments)
    args.variant = args.variant or ("yunet" if args.service == "face_detection" else None)
    return args


if __name__ == "__main__":
    sys.exit(main())
