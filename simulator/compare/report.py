"""The report: Markdown and plots, the same for the same results. Times of this machine stand in a file of their own."""

import csv
from collections.abc import Sequence
from pathlib import Path

from simulator.compare.plan import BASELINES, DEFAULT, LARGEST, SEEDS, SEEDS_LARGEST
from simulator.compare.statistics import Figures, Interval, column, interval, losses, verdict
from simulator.results import WALL_CLOCK, Result
from simulator.scenario import Scenario

COLUMNS = {
    "miss_rate": "missed, %", "goodput_fps": "goodput, frames/s", "p50_ms": "p50, ms", "p95_ms": "p95, ms",
    "p99_ms": "p99, ms", "accuracy": "accuracy", "joules_per_frame": "J/frame", "moves_per_hour": "moves/h",
    "refused_sessions": "refused", "fairness": "fairness",
}  # fmt: skip
PLOTTED = {"miss_rate": "share of frames missed, %", "p95_ms": "p95 of the frames answered, ms"}


def write(folder: Path, figures: Figures, scenarios: dict[str, Scenario], *, smoke: bool, note: str = "") -> None:
    """Write README.md, results.csv, wall_clock.md and the plots into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    _csv(folder / "results.csv", figures)
    (folder / "wall_clock.md").write_text(_wall_clock(figures), encoding="utf-8")
    plots = _plots(folder, figures)
    text = "\n".join([*_head(figures, smoke=smoke, note=note), *_verdicts(figures), *plots,
                      *_tables(figures, scenarios), *_reading()])  # fmt: skip
    (folder / "README.md").write_text(text + "\n", encoding="utf-8")


def _head(figures: Figures, *, smoke: bool, note: str) -> list[str]:
    seeds = {name: len(next(iter(found.values()), ())) for name, found in figures.items()}
    whole = all(n >= (SEEDS_LARGEST if name == LARGEST else SEEDS) for name, n in seeds.items())
    lines = ["# The algorithms compared", "", "Made by `scripts/compare`; a second run gives the same figures.", ""]
    if smoke:
        lines += [
            "**Smoke version**: small and short, it shows that all works and says nothing about the algorithms.",
            "",
        ]
    elif not whole:
        lines += [f"**Partial**: {SEEDS} seeds ({SEEDS_LARGEST} for `{LARGEST}`) are asked for; this has "
                  + ", ".join(f"{n} for `{name}`" for name, n in seeds.items()) + ". Intervals of so few seeds are "
                  "rough; one seed has none.", ""]  # fmt: skip
    return [*lines, note, ""] if note else lines


def _verdicts(figures: Figures) -> list[str]:
    found = [v for name, by in figures.items() if (v := verdict(name, by)) is not None]
    lines = [f"## {DEFAULT} against the best of {', '.join(BASELINES)}", "",
             "| scenario | missed | best baseline | missed | ratio | difference [95 %] | |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for v in found:
        said = "at most half" if v.half else "no worse" if v.never_worse else "**worse**"
        lines.append(f"| {v.scenario} | {v.default_misses:.2%} | {v.baseline} | {v.baseline_misses:.2%} "
                     f"| {v.ratio:.2f} | {_percent(v.difference)} | {said} |")  # fmt: skip
    half, worse = sum(v.half for v in found), [v.scenario for v in found if not v.never_worse]
    lines += ["", f"At most half in {half} of {len(found)} (wanted: 6 of 8); worse by more than 10 % in "
              f"{', '.join(worse) or 'none'} (wanted: none).", ""]  # fmt: skip
    lost = {name: losses(by) for name, by in figures.items()}
    lines += [
        f"Where another algorithm missed fewer frames, {_surely(figures)} (default - other, in percentage points):",
        "",
    ]
    lines += [
        f"- {name}: " + ", ".join(f"`{a}` {_percent(i)}" for a, i in them.items())
        for name, them in lost.items()
        if them
    ]
    if not any(lost.values()):
        lines.append("- nowhere")
    return [*lines, ""]


def _surely(figures: Figures) -> str:
    """Return how sure the losses are: one seed tells nothing of chance."""
    alone = [name for name, found in figures.items() if len(next(iter(found.values()), ())) < 2]
    return f"beyond chance, but for {', '.join(alone)}, where one seed rules out nothing" if alone else "beyond chance"


def _tables(figures: Figures, scenarios: dict[str, Scenario]) -> list[str]:
    lines = []
    for name, found in figures.items():
        seeds = len(next(iter(found.values()), ()))
        lines += [f"## {name}", "", f"{scenarios[name].description} {seeds} seed{'s' if seeds != 1 else ''}.", "",
                  f"| algorithm | {' | '.join(COLUMNS.values())} |", "|---" * (len(COLUMNS) + 1) + "|"]  # fmt: skip
        for algorithm, results in found.items():
            lines.append(f"| {algorithm} | " + " | ".join(_cell(c, results) for c in COLUMNS) + " |")
        lines.append("")
    return lines


def _cell(name: str, results: Sequence[Result]) -> str:
    values = column(results, name)
    if not values:
        return "-"
    found = interval(values)
    if name == "miss_rate":
        return _percent(found)
    return f"{found.mean:.4g}" + (f" [{found.low:.4g}, {found.high:.4g}]" if name == "p95_ms" else "")


def _percent(found: Interval) -> str:
    return f"{100 * found.mean:.2f} [{100 * found.low:.2f}, {100 * found.high:.2f}]"


def _plots(folder: Path, figures: Figures) -> list[str]:
    try:
        from simulator import plots
    except ImportError as error:
        return [f"(No plots: {error}.)", ""]
    lines = []
    for name, title in PLOTTED.items():
        rows = {s: {a: interval(v) for a, r in found.items() if (v := column(r, name))} for s, found in figures.items()}
        plots.comparison(folder / f"{name}.png", rows, title, percent=name == "miss_rate")
        lines += [f"![{title}]({name}.png)", ""]
    return lines


def _csv(path: Path, figures: Figures) -> None:
    names = [n for n in Result.__struct_fields__ if n not in ("dropped", "sessions", *WALL_CLOCK)]
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(names)
        for found in figures.values():
            for results in found.values():
                rows.writerows([getattr(r, n) for n in names] for r in results)


def _wall_clock(figures: Figures) -> str:
    lines = ["# How long decisions took", "", "Wall clock of the machine that compared: other each time.", "",
             "| scenario | algorithm | decisions per run | p50, ms | p95, ms |", "|---|---|---|---|---|"]  # fmt: skip
    for name, found in figures.items():
        for algorithm, results in found.items():
            p50, p95 = (column(results, n) for n in WALL_CLOCK)
            count = sum(r.decisions for r in results) / len(results)
            lines.append(f"| {name} | {algorithm} | {count:.0f} | {_mean(p50)} | {_mean(p95)} |")
    return "\n".join(lines) + "\n"


def _mean(values: list[float]) -> str:
    return f"{sum(values) / len(values):.1f}" if values else "-"


def _reading() -> list[str]:
    return [
        "## How to read this", "",
        "A frame is missed when it is not answered within its session's `max_latency_ms`, whatever the reason: late, "
        "dropped, refused with its session, or lost with a node. All algorithms see the same frames with the same "
        "work (common random numbers), under the same coordinator: its telemetry, admission, repair and rebalancing. "
        "So a blind algorithm is helped by the rules above it, here as in the product. Brackets are 95 % bootstrap "
        "intervals over the seeds. The model and its limits: `docs/simulator.md`.",
    ]  # fmt: skip
