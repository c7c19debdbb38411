"""Plots of results (matplotlib: requirements-optimize.txt)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from simulator.results import Result

FIGURES = {"miss_rate": "share of frames missed", "p95_ms": "p95, ms", "joules_per_frame": "J per frame in time"}
Interval = tuple[float, float, float]  # mean, low, high


def runs(path: Path, results: Sequence[Result]) -> None:
    """Write a bar for each algorithm, the mean over its seeds."""
    names = list(dict.fromkeys(r.algorithm for r in results))
    figure, axes = plt.subplots(1, len(FIGURES), figsize=(4 * len(FIGURES), 3.2), layout="constrained")
    for axis, (name, title) in zip(axes, FIGURES.items(), strict=True):
        means = [fmean(getattr(r, name) or 0.0 for r in results if r.algorithm == a) for a in names]
        axis.bar(names, means, color="#4878a8")
        axis.set_title(title)
        axis.tick_params(axis="x", rotation=60)
    figure.suptitle(results[0].scenario)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def comparison(path: Path, rows: Mapping[str, Mapping[str, Interval]], title: str, *, percent: bool) -> None:
    """Write a panel for each scenario: a bar, its mean and its interval for each algorithm. rows: scenario -> ..."""
    columns = 4
    lines = -(-len(rows) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(3.6 * columns, 2.7 * lines), layout="constrained", squeeze=False
    )
    for axis in axes.flat[len(rows) :]:
        axis.set_visible(False)
    for axis, (scenario, found) in zip(axes.flat, rows.items(), strict=False):
        scale = 100 if percent else 1
        means = [scale * m for m, _, _ in found.values()]
        errors = [[scale * (m - a) for m, a, _ in found.values()], [scale * (b - m) for m, _, b in found.values()]]
        colours = ["#c44e52" if name == "layered_dp" else "#4878a8" for name in found]
        bars = axis.barh(list(found), means, xerr=errors, color=colours, error_kw={"elinewidth": 1, "capsize": 2})
        axis.bar_label(bars, [f"{m:,.0f}" if m >= 100 else f"{m:.3g}" for m in means], padding=4, fontsize=8)
        axis.set_title(scenario, fontsize=10)
        axis.invert_yaxis()  # as in the tables, the first on top
        axis.margins(x=0.22)
        axis.tick_params(labelsize=8)
    figure.suptitle(title)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def distribution(path: Path, gaps: Sequence[float], title: str) -> None:
    """Write the cumulative distribution of optimality gaps (shares)."""
    figure, axis = plt.subplots(figsize=(5, 3.2), layout="constrained")
    ordered = sorted(100 * g for g in gaps)
    axis.step(ordered, [100 * (i + 1) / len(ordered) for i in range(len(ordered))], where="post", color="#c44e52")
    axis.set_xlabel("gap, %")
    axis.set_ylabel("instances with at most that, %")
    axis.set_ylim(0, 101)
    axis.set_title(title)
    axis.grid(alpha=0.3)
    figure.savefig(path, dpi=90)
    plt.close(figure)
