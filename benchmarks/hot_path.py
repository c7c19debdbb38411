"""Where the CPU of the frame path goes: a profile of a handler's process, and kernel against Python by perf(1).

    python3 -m benchmarks.hot_path [--size 60000] [--posts 3000]

The set-up is that of benchmarks.relay. cProfile makes each Python call dearer, so its times are shares, not costs.
"""

import argparse
import contextlib
import cProfile
import os
import pstats
import shutil
import subprocess
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks import relay
from benchmarks.common import CORE
from node.processes.control import ChildSettings, HandlerSettings

FIGURES = "faceservice-profile"  # file in the temporary folder


def profiled_worker(pipe: Connection, settings: ChildSettings, spec: HandlerSettings) -> None:
    """The product's process of a handler, its main thread under cProfile."""
    os.sched_setaffinity(0, [CORE])
    from node.worker.main import run

    profile = cProfile.Profile()
    profile.runcall(run, pipe, settings, spec)
    profile.dump_stats(Path(tempfile.gettempdir()) / FIGURES)


def python_profile(size: int, posts: int, lines: int) -> None:
    """Print where a handler's process spends its time."""
    way = relay.Relay(size, profiled_worker)
    try:
        relay.one_round(way, posts)
    finally:
        way.close()
    path = Path(tempfile.gettempdir()) / FIGURES
    pstats.Stats(str(path)).sort_stats("tottime").print_stats(lines)
    path.unlink()


def kernel_profile(size: int, posts: int, lines: int) -> None:
    """Print which functions of kernel, interpreter and libraries each process spends its time in, where perf is."""
    perf = shutil.which("perf")
    if perf is None:
        print("no perf(1) here")
        return
    way = relay.Relay(size)
    try:
        relay.one_round(way, 200)
        with tempfile.TemporaryDirectory() as folder:
            for name in ("gateway A", "handler"):
                data = f"{folder}/{name.replace(' ', '-')}"
                pid = str(way.receivers[name])
                recorder = subprocess.Popen([perf, "record", "-q", "-o", data, "-p", pid], stderr=subprocess.DEVNULL)
                relay.one_round(way, posts)
                recorder.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    recorder.wait(20)
                print(f"{name}, {size} B:")
                report = [perf, "report", "-q", "--stdio", "-i", data, "--sort", "dso,symbol", "--percent-limit", "1"]
                text = subprocess.run(report, capture_output=True, text=True, check=False).stdout
                print("\n".join([line for line in text.splitlines() if line.strip()][:lines]))
    finally:
        way.close()


def main() -> None:
    """Print both profiles."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--size", type=int, default=60_000, help="bytes per frame")
    parser.add_argument("--posts", type=int, default=3000, help="frames")
    parser.add_argument("--lines", type=int, default=25, help="of each profile")
    options = parser.parse_args()
    os.sched_setaffinity(0, [CORE])
    python_profile(options.size, options.posts, options.lines)
    kernel_profile(options.size, options.posts, options.lines)


if __name__ == "__main__":
    main()
