"""The picture of accuracy over latency: a panel for each service, the front drawn, what is beaten in grey."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.profile.front import Point, front

BLUE, GREY = "#1f5fa8", "#8a8a8a"
MOST_BYTES = 150_000


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
    figure, axes = plt.subplots(rows, columns, figsize=(5.2 * columns, 3.6 * rows), squeeze=False)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for axis, (name, found) in zip(axes.flat, shown.items(), strict=False):
        _panel(axis, name, found)
    figure.tight_layout()
    figure.savefig(path, dpi=100, facecolor="white", metadata={"Software": None})
    plt.close(figure)


def _panel(axis: Any, name: str, found: list[Point]) -> None:
    best = front(found)
    axis.step(
        [p.latency_ms for p in best], [p.accuracy for p in best], where="post", color=BLUE, linewidth=1.4, zorder=2
    )
    for place, point in enumerate(sorted(found, key=lambda p: p.latency_ms)):
        colour = BLUE if point in best else GREY
        axis.plot(point.latency_ms, point.accuracy, "o", color=colour, markersize=6, zorder=3)
        below = place % 2 == 1
        axis.annotate(
            point.name,
            (point.latency_ms, point.accuracy),
            xytext=(0, -14 if below else 8),
            textcoords="offset points",
            ha="center",
            color=colour,
            fontsize=8.5,
        )
    axis.set_xscale("log")
    axis.margins(x=0.18, y=0.18)
    axis.set_title(name, fontsize=11)
    axis.set_xlabel("latency of one frame, ms (640x480)", fontsize=9)
    axis.set_ylabel("accuracy", fontsize=9)
    axis.grid(True, which="major", color="#e4e4e4", linewidth=0.7)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
