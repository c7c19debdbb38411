"""From the sums of link_info to a link's latency and bandwidth: least squares of send time against size."""

from msgspec import Struct

from coordinator.allocation.base import LinkView
from coordinator.allocation.links import SAME_ZONE

SPREAD = 0.2  # standard deviation of the sizes / their mean, from which on a slope can be told
LEAST_LATENCY = 0.1  # share of the send time, where size alone would explain more


class LinkSums(Struct, frozen=True, kw_only=True):
    """Over the rows of one link, each weighed by its frames: size = bytes per frame, ms = send_ms."""

    frames: float
    size: float
    ms: float
    size_size: float
    size_ms: float


def fit(sums: LinkSums) -> LinkView | None:
    """Return the link, or None without frames.

    Where frames were of many sizes the slope is measured; else the bandwidth is taken to be that of a local network,
    or what the whole send time would give, whichever is less.
    """
    if sums.frames <= 0 or sums.size <= 0:
        return None
    size, ms = sums.size / sums.frames, sums.ms / sums.frames
    variance = sums.size_size / sums.frames - size * size
    covariance = sums.size_ms / sums.frames - size * ms
    if variance > (SPREAD * size) ** 2 and covariance > 0:
        slope = min(covariance / variance, ms / size)
    else:
        slope = min(1000 / (SAME_ZONE.bytes_per_s or 1e9), (1 - LEAST_LATENCY) * ms / size)
    return LinkView(latency_ms=max(0.0, ms - slope * size), bytes_per_s=1000 / slope if slope > 0 else None)
