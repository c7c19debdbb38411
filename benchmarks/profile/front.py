"""Which variants are worth having: no other is as accurate and as fast. Pure."""

from collections.abc import Iterable
from typing import NamedTuple


class Point(NamedTuple):
    """A variant as the picture shows it."""

    name: str
    latency_ms: float
    accuracy: float  # 0-1


def front(points: Iterable[Point]) -> list[Point]:
    """Return the points that no other beats (faster and as accurate, or as fast and more accurate), fastest first."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.latency_ms, -p.accuracy)):
        if not kept or point.accuracy > kept[-1].accuracy:
            kept.append(point)
    return kept
