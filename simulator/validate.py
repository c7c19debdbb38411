"""The simulator against the real system: python3 -m simulator.validate --coordinator URL PICTURE [--out FILE].

On a quiet machine with two nodes up: a session is pinned to both, frames are posted one at a time (the calibration:
service times of each handler from the results' traces, and what the frame path adds), then as a Poisson process at
30 % and 60 % of what its slowest handler can do. The simulator is given the calibration alone, and the same rate.
Wanted: p50 within 15 %, p95 within 25 % of what was measured.
"""

import argparse
import json
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import requests

from simulator.draws import generator
from simulator.run import Run
from simulator.scenario import Scenario
from wire import auth
from wire.client import ControlClient

LOADS, SECONDS, CALIBRATION = (0.3, 0.6), 60.0, 150
SKIPPED = 10  # first frames of the calibration: caches are cold
SEEDS = range(1, 6)  # of the simulation
WANTED = {"p50": 0.15, "p95": 0.25}
CLIENTS = 32

Json = dict[str, Any]


class Calibration(NamedTuple):
    """Of single frames: handler -> service times, ms; and what a frame takes beyond these."""

    services: dict[int, list[float]]
    overhead_ms: float

    @property
    def capacity(self) -> float:
        """Frames/s of the slowest handler."""
        return 1000 / max(statistics.fmean(ms) for ms in self.services.values())


class Session:
    """A session on the real system, from open() to close()."""

    def __init__(self, coordinator: str, token: str | None, service: str, variant: str, picture: bytes) -> None:
        self._client, self._base = ControlClient(token), coordinator.rstrip("/")
        self._picture, self._headers = picture, {"Content-Type": "image/jpeg", **auth.header(token)}
        self._asked = {"service": service, "variant": variant}
        self._local = threading.local()
        self.placement: dict[str, list[int]] = {}

    def open(self) -> None:
        """Pin the entry to the first node that is up, the next handler to the second."""
        nodes = msgspec.json.decode(self._client.get(f"{self._base}/nodes"))["nodes"]
        up = [n["node_id"] for n in nodes if n["state"] == "up"]
        if len(up) < 2:
            raise SystemExit(f"two nodes are needed, {len(up)} are up")
        pins = {"0": up[0], "1": up[1]}
        answer = self._client.post(f"{self._base}/sessions", self._asked | {"pin": pins}, timeout=120.0)
        self._session: Json = msgspec.json.decode(answer)
        self.placement = self._session["placement"]

    def close(self) -> None:
        """Delete it."""
        self._client.delete(f"{self._base}/sessions/{self._session['session_id']}")
        self._client.close()

    def post(self) -> tuple[float, Json]:
        """Post the picture; returns the ms until the answer, and the answer."""
        if not hasattr(self._local, "http"):
            self._local.http = requests.Session()
        begun = time.perf_counter()
        response = self._local.http.post(
            self._session["session_url"], data=self._picture, headers=self._headers, timeout=60
        )
        response.raise_for_status()
        return (time.perf_counter() - begun) * 1000, response.json()


def calibrate(session: Session, frames: int) -> Calibration:
    """Return what single frames take."""
    services: dict[int, list[float]] = {}
    beyond = []
    for number in range(frames + SKIPPED):
        latency, result = session.post()
        if number >= SKIPPED:
            spans = {s["handler_id"]: 1000 * (s["end"] - s["start"]) for s in result["trace"]}
            for handler, ms in spans.items():
                services.setdefault(handler, []).append(ms)
            beyond.append(latency - sum(spans.values()))
    return Calibration(services, statistics.median(beyond))


def record(session: Session, rate: float, seconds: float) -> list[float]:
    """Return the latencies (ms) of a Poisson process of posts, each from the moment it was due."""
    gaps = generator(0).exponential(1 / rate, int(2 * rate * seconds) + 10)
    due = [t for t in np.cumsum(gaps).tolist() if t < seconds]
    never, found = threading.Event(), []
    begun = time.perf_counter()

    def one(at: float) -> None:
        session.post()
        found.append((time.perf_counter() - begun - at) * 1000)

    with ThreadPoolExecutor(CLIENTS) as pool:
        for at in due:
            never.wait(max(0.0, at - (time.perf_counter() - begun)))
            pool.submit(one, at)
    return found[len(found) // 10 :]


def simulate(calibration: Calibration, placement: dict[str, list[int]], rate: float, seconds: float) -> list[float]:
    """Return the latencies (ms) that the simulator expects, over some seeds, with what the frame path adds."""
    asked = scenario(calibration, placement, rate, seconds)
    found: list[float] = []
    for seed in SEEDS:
        run = Run(asked, "static", seed)
        run.run()
        found += [1000 * s + calibration.overhead_ms for s in run.held[0].session.tally.latencies]
    return found


def scenario(calibration: Calibration, placement: dict[str, list[int]], rate: float, seconds: float) -> Scenario:
    """Return the real session as a scenario; hops are in the overhead, so lines cost nothing here."""
    handlers = sorted(calibration.services)
    nodes = sorted({placement[str(h)][0] for h in handlers})
    kinds = [
        {"name": f"h{h}", "ms": statistics.fmean(ms), "cv2": _cv2(ms), "mem_mib": 1, "load_ms": 0.001}
        for h, ms in sorted(calibration.services.items())
    ]
    return msgspec.convert(
        {
            "name": "recorded",
            "duration_s": seconds,
            "warmup_s": seconds / 10,
            "kinds": kinds,
            "nodes": [{"name": f"n{n}"} for n in nodes],
            "links": [{"between": ["", ""], "latency_ms": 0, "mbit_s": 1e6}],
            "services": [{"name": "s", "variants": [{"name": "v", "handlers": [k["name"] for k in kinds]}]}],
            "sessions": [
                {
                    "service": "s", "fps": rate, "arrivals": {"kind": "poisson"}, "delivery": "lossless",
                    "placed": {i: [1 + nodes.index(placement[str(h)][0])] for i, h in enumerate(handlers)},
                }
            ],
            "control": {"admission": False, "rebalance": False},
        },
        type=Scenario,
    )  # fmt: skip


def compared(load: float, rate: float, real: list[float], simulated: list[float]) -> Json:
    """Return the percentiles side by side, with the simulator's error as a share of what was measured."""
    row: Json = {"load": load, "fps": round(rate, 2), "frames": len(real)}
    for name, percent in (("p50", 50), ("p95", 95)):
        measured, expected = float(np.percentile(real, percent)), float(np.percentile(simulated, percent))
        row[name] = {
            "measured_ms": round(measured, 2),
            "simulated_ms": round(expected, 2),
            "error": round(expected / measured - 1, 4),
            "wanted": WANTED[name],
        }
    return row


def _cv2(ms: list[float]) -> float:
    return statistics.pvariance(ms) / statistics.fmean(ms) ** 2


def main(arguments: list[str] | None = None) -> int:
    """Return 0 when all errors are within what is wanted, else 1."""
    parser = argparse.ArgumentParser(prog="simulator.validate", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("--coordinator", default="http://127.0.0.1:9002", metavar="URL")
    parser.add_argument("--token")
    parser.add_argument("--service", default="face_detection")
    parser.add_argument("--variant", default="yunet")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each load (60)")
    parser.add_argument("--out", type=Path, help="file for the figures, as JSON")
    args = parser.parse_args(arguments)
    session = Session(args.coordinator, args.token, args.service, args.variant, args.picture.read_bytes())
    session.open()
    rows = []
    try:
        calibration = calibrate(session, CALIBRATION)
        for load in LOADS:
            rate = load * calibration.capacity
            real = record(session, rate, args.seconds)
            rows.append(compared(load, rate, real, simulate(calibration, session.placement, rate, args.seconds)))
            sys.stdout.write(json.dumps(rows[-1]) + "\n")
    finally:
        session.close()
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0 if all(abs(row[name]["error"]) <= row[name]["wanted"] for row in rows for name in WANTED) else 1


if __name__ == "__main__":
    sys.exit(main())
