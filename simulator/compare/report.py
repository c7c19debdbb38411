"""The report: Markdown, HTML and plots, the same for the same results. Times of the machine stand in a file apart."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from simulator import recording
from simulator.compare.blocks import Block, Bullets, Grid, Heading, Picture, Text, markdown, page
from simulator.compare.plan import BASELINES, DEFAULT, LARGEST, SEEDS, SEEDS_LARGEST, SLOW
from simulator.compare.statistics import Figures, Interval, column, differences, interval, losses, sure, verdict
from simulator.results import MACHINE, Result
from simulator.scenario import Scenario

TITLE = "The algorithms compared"
COLUMNS = {
    "miss_rate": "missed, %", "goodput_fps": "goodput, frames/s", "p50_ms": "p50, ms", "p95_ms": "p95, ms",
    "p99_ms": "p99, ms", "accuracy": "accuracy", "joules_per_frame": "J/frame", "moves_per_hour": "moves/h",
    "refused_sessions": "refused", "fairness": "fairness",
}  # fmt: skip
VALIDATED = {"p50_ms": 50, "p95_ms": 95, "p99_ms": 99}  # percentiles, beside which the model's error stands
PLOTTED = {"miss_rate": "share of frames missed, %", "p95_ms": "p95 of the frames answered, ms"}
READING = (
    "A frame is missed when it is not answered within its session's `max_latency_ms`, whatever the reason: late, "
    "dropped, refused with its session, or lost with a node. All algorithms see the same frames with the same work "
    "(common random numbers), under the same coordinator: its telemetry, admission, repair and rebalancing. So a blind "
    "algorithm is helped by the rules above it, here as in the product. Brackets are 95 % bootstrap intervals over the "
    "seeds. The model and its limits: `docs/simulator.md`."
)


def write(
    folder: Path, figures: Figures, scenarios: Mapping[str, Scenario], *, smoke: bool, notes: Sequence[str] = ()
) -> None:
    """Write README.md, report.html, results.csv, times.md and the plots into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    _csv(folder / "results.csv", figures)
    (folder / "times.md").write_text(markdown(_times(figures)), encoding="utf-8")
    blocks = [
        *_head(figures, smoke=smoke, notes=notes), *_verdicts(figures), *_against(figures), *_plots(folder, figures),
        *_tables(figures, scenarios), Heading(2, "How to read this"), Text(READING),
    ]  # fmt: skip
    (folder / "README.md").write_text(markdown(blocks), encoding="utf-8")
    (folder / "report.html").write_text(page(TITLE, blocks, folder), encoding="utf-8")


def _head(figures: Figures, *, smoke: bool, notes: Sequence[str]) -> list[Block]:
    seeds = {name: _seeds(found) for name, found in figures.items()}
    whole = all(n >= (SEEDS_LARGEST if name == LARGEST else SEEDS) for name, n in seeds.items())
    said = ["Made by `scripts/compare`; a second run gives the same figures."]
    if smoke:
        said.append(
            "**Smoke version**: small and short, it shows that all works and says nothing about the algorithms."
        )
    elif not whole:
        said.append(
            f"**Partial**: {SEEDS} seeds ({SEEDS_LARGEST} for `{LARGEST}`) are asked for; this has "
            + ", ".join(f"{n} for `{name}`" for name, n in seeds.items())
            + ". Intervals of few seeds are rough; one seed has none."
        )
    else:
        said.append("Seeds: " + ", ".join(f"{n} for `{name}`" for name, n in seeds.items()) + ".")
    if LARGEST in figures:
        said.append(f"`{'` and `'.join(SLOW)}` are not run on `{LARGEST}`: a decision takes seconds there.")
    kept = recording.kept()
    if kept is not None:
        said.append(
            f"**How far the simulator is off**: against a real system of two nodes ({kept.date}, {kept.machine}) "
            f"{recording.said(kept.rows)}. The largest of these errors stands beside each percentile below; p99 was "
            "not compared."
        )
    return [Heading(1, TITLE), *map(Text, [*said, *notes])]


def _seeds(found: Mapping[str, Sequence[Result]]) -> int:
    return len(next(iter(found.values()), ()))


def _verdicts(figures: Figures) -> list[Block]:
    found = [v for name, by in figures.items() if (v := verdict(name, by)) is not None]
    rows = []
    for v in found:
        said = "at most half" if v.half else "no worse" if v.never_worse else "**worse**"
        rows.append([v.scenario, f"{v.default_misses:.2%}", v.baseline, f"{v.baseline_misses:.2%}", f"{v.ratio:.2f}",
                     _percent(v.difference), said])  # fmt: skip
    half, worse = sum(v.half for v in found), [v.scenario for v in found if not v.never_worse]
    return [
        Heading(2, f"{DEFAULT} against the best of {', '.join(BASELINES)}"),
        Grid(["scenario", "missed", "best baseline", "missed", "ratio", "difference [95 %]", ""], rows),
        Text(f"At most half in {half} of {len(found)} (wanted: 6 of 8); worse by more than 10 % in "
             f"{', '.join(worse) or 'none'} (wanted: none)."),
    ]  # fmt: skip


def _against(figures: Figures) -> list[Block]:
    """Return wins and losses alike: the default against each of the others."""
    by = {name: differences(found) for name, found in figures.items()}
    others = list(dict.fromkeys(a for found in by.values() for a in found))
    rows = []
    for algorithm in others:
        had = [found[algorithm] for found in by.values() if algorithm in found]
        wins, lost = (sum(sure(d) and sign * d.mean > 0 for d in had) for sign in (-1, 1))
        cells = [_difference(found.get(algorithm)) for found in by.values()]
        rows.append([f"`{algorithm}`", *cells, f"{wins} : {lost} : {len(had) - wins - lost}"])
    lost_to = {name: losses(found) for name, found in figures.items()}
    items = [
        f"{n}: " + ", ".join(f"`{a}` {_percent(i)}" for a, i in them.items()) for n, them in lost_to.items() if them
    ]
    return [
        Heading(2, f"{DEFAULT} against each of the others"),
        Text(f"Frames missed by {DEFAULT} less those missed by the other, in percentage points: below 0 the default is "
             "better. **Bold**: beyond chance (95 %). Last: wins, losses, undecided."),
        Grid(["against", *by, "w : l : u"], rows),
        Text("Where another algorithm missed fewer frames, beyond chance:"),
        Bullets(items or ["nowhere"]),
    ]  # fmt: skip


def _difference(found: Interval | None) -> str:
    if found is None:
        return "-"
    said = f"{100 * found.mean:+.2f}"
    return f"**{said}**" if sure(found) else said


def _tables(figures: Figures, scenarios: Mapping[str, Scenario]) -> list[Block]:
    blocks: list[Block] = []
    head = ["algorithm", *(title + _off(name) for name, title in COLUMNS.items())]
    for name, found in figures.items():
        seeds = _seeds(found)
        rows = [[algorithm, *(_cell(c, results) for c in COLUMNS)] for algorithm, results in found.items()]
        said = f"{scenarios[name].description} {seeds} seed{'s' if seeds != 1 else ''}."
        blocks += [Heading(2, name), Text(said), Grid(head, rows)]
    return blocks


def _off(name: str) -> str:
    """Return the model's error for a percentile of the latency."""
    kept = recording.kept()
    if name not in VALIDATED or kept is None:
        return ""
    error = recording.worst(kept.rows, VALIDATED[name])
    return " (not compared)" if error is None else f" (±{error:.0%})"


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


def _plots(folder: Path, figures: Figures) -> list[Block]:
    try:
        from simulator import plots
    except ImportError as error:
        return [Text(f"(No plots: {error}.)")]
    blocks: list[Block] = []
    for name, title in PLOTTED.items():
        rows = {s: {a: interval(v) for a, r in found.items() if (v := column(r, name))} for s, found in figures.items()}
        plots.comparison(folder / f"{name}.png", rows, title, percent=name == "miss_rate")
        blocks.append(Picture(f"{name}.png", title))
    return blocks


def _csv(path: Path, figures: Figures) -> None:
    names = [n for n in Result.__struct_fields__ if n not in ("dropped", "sessions", *MACHINE)]
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(names)
        for found in figures.values():
            for results in found.values():
                rows.writerows([getattr(r, n) for n in names] for r in results)


def _times(figures: Figures) -> list[Block]:
    rows = [[name, a, *_spent(results)] for name, found in figures.items() for a, results in found.items()]
    head = ["scenario", "algorithm", "CPU s per run", "of it decisions", "decisions", "p50, ms", "p95, ms", "events/s"]
    said = "CPU time of the machine that compared: other each time. Events per second of the rest of each run."
    return [Heading(1, "How long runs and decisions took"), Text(said), Grid(head, rows)]


def _spent(results: Sequence[Result]) -> list[str]:
    whole, decisions = (_mean(column(results, name)) or 0.0 for name in ("cpu_s", "decisions_cpu_s"))
    p50, p95 = (_mean(column(results, name)) for name in ("decision_ms_p50", "decision_ms_p95"))
    count, events = (_mean(column(results, name)) or 0.0 for name in ("decisions", "events"))
    speed = f"{events / (whole - decisions):,.0f}" if whole > decisions else "-"
    return [f"{whole:.1f}", f"{decisions:.1f}", f"{count:.0f}", _said(p50), _said(p95), speed]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _said(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
