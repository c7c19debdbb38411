"""Many cases at the parsers, in processes of their own: what crashes, hangs, is slow or grows is told with its case.

run ──starts, watches──▶ process: case after case; the number of the present one is in a shared page
    ◀──findings, memory at the beginning and end, as one JSON document──

Limits are of CPU time, and of sleep: how long a case takes by the clock says more of the machine than of the case.
"""

import contextlib
import ctypes
import gc
import json
import mmap
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

import psutil

from node.processes.limits import private_mb
from tests.fuzz.parsers import Parser, parsers, raised

LOOK_S = 0.5  # how often a process is looked at
HANG_S = 20.0  # CPU time: a case that works for so long hangs
BLOCKED_S = 60.0  # a case that is found asleep at each look for so long hangs too
SLOW_S = 1.0  # CPU time: a case that takes more is told
CHUNK = 250_000  # cases per process
WARM = 25_000  # cases before memory is measured
GROWTH_MB = 8  # that a process may take after it is warm
FINDINGS = 50  # told per run


@dataclass
class Findings:
    """What a run found; nothing is well."""

    told: list[str] = field(default_factory=list)
    cases: Counter[str] = field(default_factory=Counter)
    growth_mb: list[int] = field(default_factory=list)
    slowest: dict[str, tuple[float, str]] = field(default_factory=dict)  # parser -> CPU s, case


def pick(seed: int, number: int, targets: list[Parser]) -> tuple[Parser, bytes]:
    """Return case *number* of *seed*: always the same."""
    rng = Random(f"{seed}:{number}")
    parser = rng.choices(targets, [t.share for t in targets])[0]
    return parser, parser.spoil(rng, parser.corpus)


def run(seed: int, count: int) -> Findings:
    """Feed *count* cases of *seed*."""
    found, targets, first = Findings(), parsers(), 0
    while first < count and len(found.told) < FINDINGS:
        last = _process(targets, seed, first, min(count, first + CHUNK), found)
        first = last + 1  # after a crash or hang: the cases behind it
    return found


def _process(targets: list[Parser], seed: int, first: int, end: int, found: Findings) -> int:
    """Run cases in a process until it ends; returns the last case that it began."""
    with tempfile.TemporaryFile() as file:
        file.truncate(mmap.PAGESIZE)
        page = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        page[:8] = first.to_bytes(8, "little")
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(theirs, page, targets, seed, first, end))
        process.start()
        theirs.close()
        told = _watch(process.pid or 0, page, ours, seed)
        if told:
            process.kill()
        found.told += told
        _take(ours, found)
        process.join()
        last = int.from_bytes(page[:8], "little")
        if process.exitcode and not told:
            found.told.append(f"case {seed}:{last} ended the process with {process.exitcode}")
        return last


def _watch(pid: int, page: mmap.mmap, pipe: Connection, seed: int) -> list[str]:
    """Wait for the process's last words; returns what is wrong with it."""
    process, case, begun, asleep = psutil.Process(pid), b"", 0.0, 0
    while not pipe.poll(LOOK_S):
        with contextlib.suppress(psutil.NoSuchProcess):  # it crashed: the pipe says so
            used, sleeps = process.cpu_times().user, process.status() == psutil.STATUS_SLEEPING
            if page[:8] != case:
                case, begun, asleep = page[:8], used, 0
            asleep = asleep + 1 if sleeps else 0
            if used - begun > HANG_S or asleep * LOOK_S > BLOCKED_S:
                return [f"case {seed}:{int.from_bytes(case, 'little')} hangs"]
    return []


def _take(pipe: Connection, found: Findings) -> None:
    if not pipe.poll(0):
        return
    try:
        report = json.loads(pipe.recv_bytes())
    except EOFError:  # it crashed
        return
    found.told += report["told"]
    found.cases.update(report["cases"])
    found.growth_mb.append(report["growth_mb"])
    _keep_slowest(found.slowest, {name: (cpu_s, case) for name, (cpu_s, case) in report["slowest"].items()})
    if report["growth_mb"] > GROWTH_MB:
        found.told.append(f"memory grew by {report['growth_mb']} MiB")


def _work(pipe: Connection, page: mmap.mmap, targets: list[Parser], seed: int, first: int, end: int) -> None:
    told, cases, slowest, warm = list[str](), Counter[str](), dict[str, tuple[float, str]](), 0
    for number in range(first, end):
        page[:8] = number.to_bytes(8, "little")
        if number - first == WARM:
            warm = _used_mb()
        parser, data = pick(seed, number, targets)
        cases[parser.name] += 1
        error, cpu_s = timed(parser, data)
        _keep_slowest(slowest, {parser.name: (cpu_s, f"{seed}:{number}")})
        fault = verdict(error, cpu_s)
        if fault and len(told) < FINDINGS:
            told.append(f"case {seed}:{number}: {parser.name} {fault}")
    growth = _used_mb() - warm if warm else 0
    report = {"told": told, "cases": cases, "growth_mb": growth, "slowest": slowest}
    pipe.send_bytes(json.dumps(report).encode())


def _used_mb() -> int:
    """Return the MiB that this process uses, without what the allocator keeps: that is 10 to 50, up and down."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # of glibc
        ctypes.CDLL(None).malloc_trim(0)
    return private_mb(os.getpid())


def timed(parser: Parser, data: bytes) -> tuple[Exception | None, float]:
    """Feed *data*; returns an error that is not declared, and the CPU time of this thread, s."""
    begun = time.thread_time()
    return raised(parser, data), time.thread_time() - begun


def verdict(error: Exception | None, cpu_s: float) -> str:
    """Return what is wrong with a case; "" when nothing is."""
    if error is not None:
        return f"raised {type(error).__name__}: {str(error)[:200]}"
    return f"took {cpu_s:.1f} s of CPU" if cpu_s > SLOW_S else ""


def _keep_slowest(slowest: dict[str, tuple[float, str]], more: dict[str, tuple[float, str]]) -> None:
    for name, one in more.items():
        slowest[name] = max(one, slowest.get(name, one))


def kept(found: Findings, folder: Path, seed: int) -> Iterator[Path]:
    """Write the bytes of each case that was told into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = parsers()
    for text in found.told:
        number = text.partition(f"{seed}:")[2].partition(":")[0].partition(" ")[0]
        if number.isdigit():
            path = folder / f"{seed}-{number}"
            path.write_bytes(pick(seed, int(number), targets)[1])
            yield path
