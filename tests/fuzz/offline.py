"""Many cases at the parsers, in processes of their own: what crashes, hangs or grows is told with its case.

run ──starts, watches──▶ process: case after case; the number of the present one is in a shared page
    ◀──findings, memory at the beginning and end, as JSON lines──
"""

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

from node.processes.limits import private_mb
from tests.fuzz.parsers import Parser, parsers, raised

HANG_S = 60.0  # a case that takes so long hangs
CHUNK = 50_000  # cases per process
WARM = 25_000  # cases before memory is measured
GROWTH_MB = 24  # that a process may take after it is warm
FINDINGS = 50  # told per run


@dataclass
class Findings:
    """What a run found; nothing is well."""

    told: list[str] = field(default_factory=list)
    cases: Counter[str] = field(default_factory=Counter)
    growth_mb: list[int] = field(default_factory=list)


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
        told = _watch(process.pid or 0, page, ours)
        if told:
            process.kill()
        found.told += told
        _take(ours, found)
        process.join()
        last = int.from_bytes(page[:8], "little")
        if process.exitcode and not told:
            found.told.append(f"case {seed}:{last} ended the process with {process.exitcode}")
        return last


def _watch(pid: int, page: mmap.mmap, pipe: Connection) -> list[str]:
    """Wait for the process's last words; returns what is wrong with it."""
    before, since = b"", time.monotonic()
    while not pipe.poll(0.5):
        if page[:8] != before:
            before, since = page[:8], time.monotonic()
        elif time.monotonic() - since > HANG_S:
            return [f"case {int.from_bytes(before, 'little')} hangs in process {pid}"]
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
    if report["growth_mb"] > GROWTH_MB:
        found.told.append(f"memory grew by {report['growth_mb']} MiB")


def _work(pipe: Connection, page: mmap.mmap, targets: list[Parser], seed: int, first: int, end: int) -> None:
    told, cases, warm = list[str](), Counter[str](), 0
    for number in range(first, end):
        page[:8] = number.to_bytes(8, "little")
        if number - first == WARM:
            warm = private_mb(os.getpid())
        parser, data = pick(seed, number, targets)
        cases[parser.name] += 1
        error = raised(parser, data)
        if error is not None and len(told) < FINDINGS:
            told.append(f"case {seed}:{number}: {parser.name} raised {type(error).__name__}: {str(error)[:200]}")
    growth = private_mb(os.getpid()) - warm if warm else 0
    pipe.send_bytes(json.dumps({"told": told, "cases": cases, "growth_mb": growth}).encode())


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
