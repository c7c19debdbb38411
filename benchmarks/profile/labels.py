"""Where the names of points go in a picture, so that they cover neither one another nor other points. Pure."""

from collections.abc import Sequence

from benchmarks.profile.detections import Area, overlap

WIDTH, HEIGHT = 6.4, 13.0  # pixels of a letter
SPOT = 9.0  # pixels: side of a point
Place = tuple[float, float]  # pixels from the point to the name's middle, right and up


def place(points: Sequence[Place], names: Sequence[str], inside: Area) -> list[Place]:
    """Return where the name of each of *points* (pixels) goes: the nearest free place around it, within *inside*."""
    taken = [Area(x - SPOT / 2, y - SPOT / 2, SPOT, SPOT) for x, y in points]
    found = []
    for (x, y), name in zip(points, names, strict=True):
        width = WIDTH * len(name)
        choices = [(dx, dy, Area(x + dx - width / 2, y + dy - HEIGHT / 2, width, HEIGHT)) for dx, dy in _around(width)]
        best = min(choices, key=lambda c: _covered(c[2], taken) + _outside(c[2], inside))  # the first of equal ones
        taken.append(best[2])
        found.append((best[0], best[1]))
    return found


def _around(width: float) -> list[Place]:
    """Return the places to try around a point, in pixels, the best first; not beside it, where lines go."""
    beside = width / 2
    return [(right, up) for up in (14.0, -14.0, 28.0, -28.0) for right in (0.0, -beside, beside)]


def _covered(area: Area, taken: Sequence[Area]) -> float:
    return sum(overlap(area, other) for other in taken)


def _outside(area: Area, inside: Area) -> float:
    """Return the share of *area* that lies outside, 0-1."""
    wide = min(area.x + area.w, inside.x + inside.w) - max(area.x, inside.x)
    high = min(area.y + area.h, inside.y + inside.h) - max(area.y, inside.y)
    return 1 - max(0.0, wide) * max(0.0, high) / (area.w * area.h)
