"""docs/allocation.md says what is there: its example runs, its constants and algorithms are those of the code."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from coordinator.allocation import ALGORITHMS, load_algorithms
from coordinator.allocation import links as link_costs
from coordinator.allocation.base import Measured, work
from coordinator.allocation.decide import decide
from coordinator.allocation.service_times import CREDIBLE_FRAMES, UNKNOWN_MS
from tests.unit.test_allocation_algorithms import node, request, snapshot, variant

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "allocation.md").read_text(encoding="utf-8")


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the specification of the documented class, loaded as a user's module would be."""
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    module = ModuleType("documented_algorithm")
    exec(compile(code, "docs/allocation.md", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return f"{module.__name__}:Packed"


def test_the_documented_algorithm_is_loaded_by_name_and_decides(packed: str) -> None:
    algorithm = load_algorithms({"packed": packed})["packed"]
    detector = variant().topology.handlers[2]
    world = snapshot(node(1), node(2), times={(work(detector), 2): Measured(ms=30)})
    placed = decide(algorithm, request(pins={1: (1,)}), world).placement.nodes
    assert placed == {1: (1,), 2: (2,), 3: (2,), 4: (2,)}


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_every_algorithm_is_described(name: str) -> None:
    assert f"**`{name}`**" in TEXT


def test_the_constants_are_those_of_the_code() -> None:
    same, other = link_costs.SAME_ZONE, link_costs.OTHER_ZONE
    for link, row in ((same, "same"), (other, "other")):
        assert f"| {row} `zone` | {link.latency_ms:g} ms | {(link.bytes_per_s or 0) / 1e6:g} MB/s" in TEXT
    for kind in ("Image", "Encoded", "Boxes"):
        assert f"`{kind}` {link_costs.TYPE_BYTES[kind]:,}" in TEXT
    assert f"frames / (frames + {CREDIBLE_FRAMES:g})" in TEXT
    assert f"Nothing known at all: {UNKNOWN_MS:g} ms" in TEXT
    assert f"costs {link_costs.JPEG_MS:g} ms of coding" in TEXT
