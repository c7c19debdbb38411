"""What the benchmarks share: CPU clocks, medians, verdicts, and how thorough a run is."""

import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
CORE = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


def cpu(pid: int) -> float:
    """Return the CPU seconds (user + system, all threads, ended ones too) of a process, to the nanosecond.

    The clock id is what clock_getcpuclockid(3) returns on Linux: the complement of the pid, and 2 for "scheduler time".
    """
    return time.clock_gettime((~pid << 3) | 2)


def cpu_of(pids: Iterable[int]) -> float:
    """Return the CPU seconds of several processes."""
    return sum(cpu(pid) for pid in pids)


def others_load(seconds: float = 0.5) -> float:
    """Return how many cores are busy now: what the rest of the machine does before a run begins."""
    return float(psutil.cpu_percent(seconds)) / 100 * (psutil.cpu_count() or 1)


def median_of(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each figure over *rounds*."""
    return {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}


def quantile(values: Iterable[float], share: float) -> float:
    """Return the value below which *share* of *values* lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True)
class Scale:
    """How thorough a run is."""

    quick: bool = False

    @property
    def rounds(self) -> int:
        """How often everything is measured, in turn; medians are taken over them."""
        return 5

    def pick(self, full: int, quick: int) -> int:
        """Return *full*, or *quick* in a quick run."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure and, when it is promised, its limit."""

    what: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """Return whether the limit holds; None without one."""
        if self.at_most is not None:
            return self.value <= self.at_most
        if self.at_least is not None:
            return self.value >= self.at_least
        return None

    @property
    def limit(self) -> str:
        """Return the promise, for people."""
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        return "" if self.at_least is None else f">= {self.at_least:g}"


@dataclass
class Outcome:
    """What a benchmark found: rows of the table, and all figures for the JSON."""

    rows: list[Row]
    figures: dict[str, Any] = field(default_factory=dict)


Say = Callable[[str], None]
