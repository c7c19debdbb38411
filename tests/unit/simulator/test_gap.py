"""The optimality gap: layered_dp one session after the other against all at once."""

import statistics
from pathlib import Path

import pytest

from coordinator.allocation.base import Unplaceable
from simulator import gap


def test_the_gap_is_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A small part of what the figure is made of: median 0, the mean a few per cent; never below 0."""
    assert gap.main(["--count", "12", "--out", str(tmp_path)]) == 0
    assert "12 instances: median" in capsys.readouterr().out
    assert (tmp_path / "gap.png").stat().st_size > 1000
    found = [g for seed in range(15) if (g := gap.gap(seed)) is not None]
    assert min(found) >= 0 and statistics.median(found) < 0.005 and statistics.mean(found) < 0.06


def test_joint_placements_keep_to_the_memory() -> None:
    """Sessions placed one after the other leave no node with less than nothing."""
    for seed in range(10):
        requests, world = gap.instance(seed)
        try:
            placed = gap.in_turn(requests, world)
        except Unplaceable:
            continue
        taken = dict.fromkeys(world.nodes, 0.0)
        for request, placement in zip(requests, placed, strict=True):
            for h, spec in request.variants[0].topology.handlers.items():
                for n in placement.nodes[h]:
                    taken[n] += world.types[spec.handler_type].memory_mib or 0.0
        assert all(mib <= world.nodes[n].mem_free for n, mib in taken.items())
