"""Services whose graphs cannot run are refused when they are loaded, by the service's and the handler's name."""

import json
from pathlib import Path
from typing import Any

import pytest

from coordinator.catalogue import Catalogue
from wire.faults import SettingsError
from wire.settings import CoordinatorSettings

ROOT = Path(__file__).resolve().parents[2]
DECODE, DETECT, DRAW, CAPTURE = 6, 8, 16, 2  # 1 input, 1 input, 2 inputs, none


def load(folder: Path, handlers: dict[int, int], *links: tuple[int, int, int]) -> Catalogue:
    """Load one service with *handlers* (id -> type) and *links* (source, target, input). Raises SettingsError."""
    document: dict[str, Any] = {
        "service_id": 77,
        "service_name": "mine",
        "variants": [
            {
                "variant_name": "only",
                "handlers": [
                    {"handler_id": h, "handler_name": f"h{h}", "handler_type": t} for h, t in handlers.items()
                ],
                "links": [{"source_handler": s, "target_handler": t, "target_input": i} for s, t, i in links],
            }
        ],
    }
    (folder / "mine.json").write_text(json.dumps(document))
    (folder / "nodes").mkdir(exist_ok=True)
    settings = CoordinatorSettings(
        node_path=folder / "nodes", handler_type_path=ROOT / "config/handlers", service_type_path=folder
    )
    return Catalogue.load(settings)


@pytest.mark.parametrize(
    ("handlers", "links", "fault"),
    [
        ({1: DECODE, 2: DETECT}, [(1, 2, 0), (2, 1, 0)], "handlers [1, 2] form a cycle"),
        ({1: DECODE, 2: DETECT, 3: DRAW}, [(1, 2, 0), (2, 3, 0), (3, 3, 1)], "handlers [3] form a cycle"),
        ({1: DECODE, 2: 99}, [(1, 2, 0)], "handler 2: no handler type 99"),
        ({1: DECODE, 2: DETECT}, [], "more than one entry: handler 1, handler 2"),
        ({1: CAPTURE, 2: DETECT}, [], "more than one entry: handler 1, handler 2"),
        ({1: DECODE, 3: DRAW}, [(1, 3, 0)], "more than one entry: handler 1, handler 3 (connect the inputs"),
        ({1: DECODE, 2: DETECT}, [(1, 2, 1)], "handler 2 has no input 1"),
        ({1: DECODE, 2: DETECT}, [(1, 5, 0)], "a link names handler 5"),
        ({1: DECODE, 2: DETECT, 3: DETECT}, [(1, 2, 0), (3, 2, 0)], "input 0 of handler 2 has two links"),
    ],
)
def test_a_graph_that_cannot_run_names_its_handler(
    tmp_path: Path, handlers: dict[int, int], links: list[tuple[int, int, int]], fault: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, handlers, *links)
    assert f"service mine, variant only: {fault}" in str(caught.value)


def test_a_graph_that_can_run_is_taken(tmp_path: Path) -> None:
    catalogue = load(tmp_path, {1: DECODE, 2: DETECT, 3: DRAW}, (1, 2, 0), (1, 3, 0), (2, 3, 1))
    assert catalogue.service("mine").service_id == 77
