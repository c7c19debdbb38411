"""Load for a long time: echo and Haar sessions at once; memory, descriptors, threads and shared memory are sampled.

Writes a CSV and, where matplotlib is there, a plot into benchmarks/soak/. Everything sampled is of all processes of
both nodes (agents, gateways, handlers).
"""

import csv
import secrets
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil

from benchmarks.cluster import Cluster, alternating, running
from benchmarks.common import ROOT
from benchmarks.faces import PIN, UNDER_WAY, photo
from benchmarks.load import Load

FOLDER = ROOT / "benchmarks" / "soak"
PERIOD_S = 5.0
SETTLE = 0.2  # share of the run that is warm-up for the verdict
FLAT = 1.05
WATCHED = ("pss_mb", "descriptors", "threads", "processes", "shm_mb", "shm_files")
SHM = Path("/dev/shm")


def shared_memory(processes: list[psutil.Process]) -> set[Path]:
    """Return the files of shared memory of the channels that *processes* have mapped, unmapped ones of theirs too."""
    names = {Path(m.path).name for p in processes for m in p.memory_maps() if m.path.startswith(f"{SHM}/")}
    prefixes = tuple({n.rpartition("_")[0] for n in names if "_" in n})
    return {p for p in SHM.iterdir() if prefixes and p.name.startswith(prefixes)}


def sample(cluster: Cluster, since: float, frames: int) -> dict[str, float]:
    """Return one row of the CSV."""
    processes = cluster.processes()
    files = shared_memory(processes)
    return {
        "seconds": round(time.monotonic() - since, 1),
        "frames": frames,
        "pss_mb": round(sum(p.memory_full_info().pss for p in processes) / 1e6, 2),
        "descriptors": sum(p.num_fds() for p in processes),
        "threads": sum(p.num_threads() for p in processes),
        "processes": len(processes),
        "shm_mb": round(sum(512 * f.stat().st_blocks for f in files) / 1e6, 2),
        "shm_files": len(files),
    }


class Driver:
    """Threads that keep sessions busy until told to stop."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._counts: list[int] = []
        self.fault: Exception | None = None

    @property
    def frames(self) -> int:
        """Frames answered so far."""
        return sum(self._counts)

    def drive(self, load: Load, batch: int) -> None:
        """Start a thread that posts batch after batch."""
        self._counts.append(0)
        thread = threading.Thread(target=self._run, args=(load, batch, len(self._counts) - 1), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, load: Load, batch: int, index: int) -> None:
        try:
            while not self._stop.is_set():
                load.run(batch)
                self._counts[index] += batch
        except Exception as error:  # noqa: BLE001 - a thread's boundary: told by `stop`
            self.fault = error

    def wait(self, seconds: float) -> bool:
        """Wait; returns False once a thread has broken."""
        self._stop.wait(seconds)
        return self.fault is None

    def stop(self) -> None:
        """End the threads. Raises what broke one of them."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        if self.fault is not None:
            raise self.fault


def soak(seconds: float) -> list[dict[str, float]]:
    """Return the samples of a run of *seconds*."""
    rows: list[dict[str, float]] = []
    with ExitStack() as stack:
        cluster = stack.enter_context(running())
        echo = stack.enter_context(cluster.session("echo2", alternating(3), window=UNDER_WAY))
        haar = stack.enter_context(cluster.session("faces_light", PIN, window=UNDER_WAY))
        driver = Driver()
        driver.drive(Load(echo.session_url, secrets.token_bytes(60_000), 4), 100)
        driver.drive(Load(haar.session_url, photo(), 4, accept="image/jpeg"), 10)
        start = time.monotonic()
        while time.monotonic() - start < seconds and driver.wait(PERIOD_S):
            rows.append(sample(cluster, start, driver.frames))
            print(", ".join(f"{k} {v:g}" for k, v in rows[-1].items()), flush=True)
        driver.stop()
    return rows


def growth(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of the last fifth of the run over that of the fifth after the warm-up, per watched figure."""
    part = max(1, int(len(rows) * SETTLE))
    first, last = rows[part : 2 * part] or rows, rows[-part:]
    return {
        key: sum(r[key] for r in last) / len(last) / max(sum(r[key] for r in first) / len(first), 1e-9)
        for key in WATCHED
    }


def write_csv(rows: list[dict[str, float]], path: Path) -> None:
    """Write the samples."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def plot(rows: list[dict[str, float]], path: Path, title: str, watched: Sequence[str] = WATCHED) -> None:
    """Draw each watched figure over time. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(watched), 1, sharex=True, figsize=(8, 1.85 * len(watched)))
    minutes = [r["seconds"] / 60 for r in rows]
    for axis, key in zip(axes, watched, strict=True):
        axis.plot(minutes, [r[key] for r in rows], linewidth=1)
        axis.set_ylabel(key)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0].set_title(title)
    axes[-1].set_xlabel("minutes")
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def main(seconds: float) -> int:
    """Run, write, and say whether everything stayed flat."""
    rows = soak(seconds)
    FOLDER.mkdir(exist_ok=True)
    write_csv(rows, FOLDER / "soak.csv")
    try:
        plot(rows, FOLDER / "soak.png", f"{rows[-1]['frames']:.0f} frames, echo chain and Haar chain on two nodes")
    except ImportError:
        print("no plot: matplotlib is not installed (requirements-dev.txt)")
    grown = growth(rows)
    for key, value in grown.items():
        print(f"{key:12} end over beginning {value:6.3f}  {'pass' if value <= FLAT else 'FAIL'}")
    return 0 if all(value <= FLAT for value in grown.values()) else 1
