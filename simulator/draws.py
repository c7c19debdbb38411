"""What is random: arrivals, service times, content. Every stream has its own generator, seeded by what it is for, so
all algorithms meet the same frames, whatever they decide (common random numbers).
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from simulator.scenario import Arrivals, Content, Pattern

CYCLE = 1 << 14  # draws of a stream; it then begins anew
CHUNK = 256  # arrivals drawn at a time


def generator(*key: int) -> np.random.Generator:
    """Return the generator of a stream; *key*: the seed and the stream's numbers."""
    return np.random.default_rng(np.random.SeedSequence(key))


def factors(draw: np.random.Generator, cv2: float) -> list[float]:
    """Return CYCLE factors of mean 1 and squared coefficient of variation *cv2* (gamma; 1 is exponential)."""
    if cv2 <= 0:
        return [1.0] * CYCLE
    found: list[float] = draw.gamma(1 / cv2, cv2, CYCLE).tolist()
    return found


def resampled(draw: np.random.Generator, samples: Sequence[float]) -> list[float]:
    """Return CYCLE factors of mean 1 drawn from measured *samples*, with their spread and shape."""
    found: list[float] = (draw.choice(samples, CYCLE) / np.mean(samples)).tolist()
    return found


def faces(draw: np.random.Generator, content: Content) -> list[float]:
    """Return CYCLE numbers of faces per frame: people come and go, so neighbours are alike (M/M/inf sampled)."""
    mean, keep = content.faces, math.exp(-1 / content.frames_stay)
    count, found = draw.poisson(mean), []
    for come in draw.poisson(mean * (1 - keep), CYCLE):
        found.append(float(count))
        count = draw.binomial(count, keep) + come
    return found


def arrivals(draw: np.random.Generator, pattern: Arrivals, rate: float, begin: float, end: float) -> Iterator[float]:
    """Yield the times (s) at which frames come, from *begin* on and before *end*; *rate*: mean frames/s."""
    kinds = {
        Pattern.CONSTANT: _constant,
        Pattern.POISSON: _poisson,
        Pattern.BURSTY: _bursty,
        Pattern.DIURNAL: _diurnal,
        Pattern.RECORDED: _recorded,
    }
    for time in kinds[pattern.kind](draw, pattern, rate, begin):
        if time >= end:
            return
        yield time


def _constant(draw: np.random.Generator, _: Arrivals, rate: float, begin: float) -> Iterator[float]:
    """A camera; its first frame comes at any moment of the period."""
    time = begin + float(draw.random()) / rate
    while True:
        yield time
        time += 1 / rate


def _poisson(draw: np.random.Generator, _: Arrivals, rate: float, begin: float) -> Iterator[float]:
    time = begin
    while True:
        for gap in draw.exponential(1 / rate, CHUNK).tolist():
            time += gap
            yield time


def _bursty(draw: np.random.Generator, pattern: Arrivals, rate: float, begin: float) -> Iterator[float]:
    """A Poisson process of two phases (MMPP): `peak` times the quiet rate for burst_s, then quiet for quiet_s."""
    burst, quiet, peak = pattern.burst_s, pattern.quiet_s, pattern.peak
    slow = rate * (burst + quiet) / (peak * burst + quiet)
    time, high = begin, bool(draw.random() < burst / (burst + quiet))
    while True:
        until = time + float(draw.exponential(burst if high else quiet))
        while True:
            time += float(draw.exponential(1 / (slow * peak if high else slow)))
            if time > until:  # what was drawn does not count: the process has no memory
                break
            yield time
        time, high = until, not high


def _diurnal(draw: np.random.Generator, pattern: Arrivals, rate: float, begin: float) -> Iterator[float]:
    """A day of period_s: a sine between the low rate and `peak` times that, by thinning (Lewis, Shedler 1979)."""
    low = 2 * rate / (1 + pattern.peak)
    high = low * pattern.peak
    time = begin
    while True:
        time += float(draw.exponential(1 / high))
        now = low + (high - low) * (1 - math.cos(2 * math.pi * time / pattern.period_s)) / 2
        if draw.random() * high < now:
            yield time


def _recorded(_: np.random.Generator, pattern: Arrivals, rate: float, begin: float) -> Iterator[float]:
    for time in pattern.times_s:
        yield begin + time
