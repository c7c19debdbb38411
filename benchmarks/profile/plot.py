"""The picture of accuracy over latency: a panel for each service, the front drawn, what is beaten in grey."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.profile.detections import Area
from benchmarks.profile.front import Point, front
from benchmarks.profile.labels import place

BLUE, GREY = "#1f5fa8", "#8a8a8a"
MOST_BYTES = 150_000
DPI = 100


def points(service: Mapping[str, Any]) -> list[Point]:
    """Return the variants whose accuracy and latency are known."""
    return [
        Point(v["variant_name"], v["profile"]["latency_ms"], v["accuracy"])
        for v in service.get("variants", ())
        if v.get("profile") and v.get("accuracy") is not None
    ]


def draw(services: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the picture (PNG). Services with fewer than two measured variants are left out; without any: no picture."""
    shown = {s["service_name"]: found for s in services if len(found := points(s)) > 1}
    if not shown:
        return
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5.2 * columns, 3.6 * rows), squeeze=False, dpi=DPI)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for axis, (name, found) in zip(axes.flat, shown.items(), strict=False):
        _panel(axis, name, found)
    figure.tight_layout()
    for axis, found in zip(axes.flat, shown.values(), strict=False):
        _names(axis, found)
    figure.savefig(path, dpi=DPI, facecolor="white", metadata={"Software": None})
    plt.close(figure)


def _panel(axis: Any, name: str, found: list[Point]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    best = front(found)
    axis.set_xscale("log")
    axis.set_title(name, fontsize=11)
    axis.set_xlabel("latency of one frame, ms (640x480)", fontsize=9)
    axis.set_ylabel("accuracy", fontsize=9)
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.tick_params(labelsize=8.5)
    axis.grid(True, which="major", color="#e4e4e4", linewidth=0.7)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for point in found:
        axis.plot(point.latency_ms, point.accuracy, "o", color=_colour(point, best), markersize=6, zorder=3)
    steps = [p.latency_ms for p in best], [p.accuracy for p in best]
    axis.margins(x=0.15, y=0.2)
    axis.set_xlim(axis.get_xlim())
    axis.set_ylim(axis.get_ylim())
    axis.set_yticks(
        [tick for tick in axis.get_yticks() if axis.get_ylim()[0] < tick <= 1.001]
    )  # the margin is for names
    axis.step(  # the front goes on to the right: what it reached can be had at any higher latency
        [*steps[0], axis.get_xlim()[1]], [*steps[1], steps[1][-1]], where="post", color=BLUE, linewidth=1.4, zorder=2
    )


def _names(axis: Any, found: list[Point]) -> None:
    """Write the names beside the points; the panel has its final place."""
    frame = axis.get_window_extent()
    best = front(found)
    pixels = axis.transData.transform([(p.latency_ms, p.accuracy) for p in found])
    places = place([(x, y) for x, y in pixels], [p.name for p in found], Area(frame.x0, frame.y0, *frame.size))
    for point, (right, up) in zip(found, places, strict=True):
        axis.annotate(
            point.name,
            (point.latency_ms, point.accuracy),
            xytext=(right, up),
            textcoords="offset pixels",
            ha="center",
            va="center",
            color=_colour(point, best),
            fontsize=8.5,
        )


def _colour(point: Point, best: list[Point]) -> str:
    return BLUE if point in best else GREY
