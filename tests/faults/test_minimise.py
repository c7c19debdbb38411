"""The fewest faults that still break a promise."""

from collections.abc import Sequence

import pytest

from tests.faults.minimise import ddmin


@pytest.mark.parametrize("needed", [{3}, {0, 15}, {4, 5, 11}, set(range(16))])
def test_what_is_needed_is_left_in_order_and_nothing_else(needed: set[int]) -> None:
    tried: list[Sequence[int]] = []

    def breaks(items: Sequence[int]) -> bool:
        tried.append(items)
        return needed <= set(items)

    assert ddmin(range(16), breaks) == sorted(needed)
    assert len(tried) < 16 * 16


def test_a_single_fault_is_left_alone() -> None:
    assert ddmin(["one"], lambda items: True) == ["one"]
