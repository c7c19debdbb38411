"""How far a node's clock is from the coordinator's: NTP's formula, the least delay counts."""

import random

from node.clock import DRIFT, KEPT, ClockFilter


def exchange(clock: ClockFilter, ahead: float, there: float, back: float, mono: float, busy: float = 0.001) -> None:
    """A heartbeat whose way takes *there* and *back* seconds; our clock is *ahead* of the peer's."""
    sent = 1e9 + mono
    received = sent - ahead + there
    clock.note(sent, received, received + busy, sent + there + busy + back, mono)


def test_nothing_heard_is_nothing_known() -> None:
    assert ClockFilter().offset(0.0) is None


def test_an_even_way_gives_the_offset_and_half_its_delay_as_error() -> None:
    clock = ClockFilter()
    exchange(clock, ahead=2.5, there=0.004, back=0.004, mono=0.0)
    known = clock.offset(0.0)
    assert known is not None
    assert abs(known.offset_ms - 2500) < 0.01
    assert abs(known.error_ms - 4) < 0.01


def test_the_true_offset_lies_within_the_error_however_uneven_the_ways() -> None:
    draw = random.Random(7)
    for _ in range(200):
        clock, ahead = ClockFilter(), draw.uniform(-100, 100)
        for second in range(draw.randint(1, 2 * KEPT)):
            exchange(clock, ahead, draw.expovariate(100), draw.expovariate(20), float(second))
        known = clock.offset(float(second))
        assert known is not None
        assert abs(known.offset_ms - 1000 * ahead) <= known.error_ms + 0.01


def test_the_exchange_with_the_least_delay_counts_until_it_is_old() -> None:
    clock = ClockFilter()
    exchange(clock, ahead=0.0, there=0.001, back=0.001, mono=0.0)
    exchange(clock, ahead=0.0, there=0.05, back=0.0, mono=1.0)
    known = clock.offset(1.0)
    assert known is not None
    assert abs(known.error_ms - 1.0 - 1000 * DRIFT) < 0.01
    later = clock.offset(1001.0)
    assert later is not None
    assert later.error_ms > known.error_ms + 20


def test_a_clock_that_was_set_is_measured_anew() -> None:
    clock = ClockFilter()
    exchange(clock, ahead=0.0, there=0.001, back=0.001, mono=0.0)
    exchange(clock, ahead=3600.0, there=0.02, back=0.02, mono=1.0)
    known = clock.offset(1.0)
    assert known is not None
    assert abs(known.offset_ms - 3_600_000) <= known.error_ms
