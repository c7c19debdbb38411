"""What the doctor makes of what it is told."""

from typing import Any

import pytest

from client.doctor import Finding, Level, of_certificate, of_node, ok, summary

NODE: dict[str, Any] = {
    "node_id": 1,
    "node_name": "edge",
    "state": "up",
    "version": "1.0",
    "clock_offset_ms": 20.0,
    "clock_error_ms": 5.0,
    "load": {"cpu_util": 99.0, "mem_util": 40.0, "shm_free": 4000, "disk_free": 90000},
    "handlers": [{"name": "A", "available": True}],
}


def test_a_certificate_that_ends_soon_is_worth_a_look() -> None:
    assert list(of_certificate("node 1", 31.0)) == []
    (found,) = of_certificate("node 1", 12.4)
    assert found.level is Level.LOOK and "12 days" in found.found and "SIGHUP" in found.advice


def test_a_node_in_order_needs_nothing() -> None:
    assert list(of_node(NODE, "1.0")) == []


@pytest.mark.parametrize(
    ("change", "level", "word"),
    [
        ({"state": "down"}, Level.FAULT, "down"),
        ({"state": "draining"}, Level.LOOK, "draining"),
        ({"version": "0.9"}, Level.LOOK, "0.9"),
        ({"clock_offset_ms": -90_000.0}, Level.LOOK, "-90.0 s"),
        ({"load": {"shm_free": 10}}, Level.FAULT, "10 MiB"),
        ({"load": {"disk_free": 10}}, Level.LOOK, "10 MiB"),
        ({"load": {"mem_util": 99.0}}, Level.LOOK, "99 %"),
        ({"handlers": [{"name": "A", "available": False, "reason": "no weights"}]}, Level.LOOK, "A (no weights)"),
    ],
)
def test_each_fault_is_found_alone_with_what_to_do(change: dict[str, Any], level: Level, word: str) -> None:
    (found,) = of_node({**NODE, **change}, "1.0")
    assert found.level is level
    assert word in found.found
    assert found.advice


def test_a_clock_whose_error_is_as_large_is_not_judged() -> None:
    assert list(of_node({**NODE, "clock_offset_ms": 1500.0, "clock_error_ms": 900.0}, "1.0")) == []


def test_the_summary_counts() -> None:
    bad = Finding(level=Level.FAULT, what="x", found="y")
    assert summary([ok("a", "b")]) == "all 1 checks are fine"
    assert summary([ok("a", "b"), bad]) == "2 checks: 1 faults, 0 worth a look"
