"""The laboratory's handler types and its service, as the files that daemons read."""

import json
import shutil
from pathlib import Path
from typing import Any

from tests.daemons import ROOT
from tests.faults.plans import COUNT, DECODE, ENCODE, MATCH, READ

TYPES = {DECODE: 6, READ: 901, MATCH: 902, COUNT: 903, ENCODE: 5}
NAME = "laboratory"


def write(folder: Path) -> tuple[Path, Path]:
    """Write the files into *folder*; returns (folder of handler types, folder of services)."""
    types, services = folder / "handlers", folder / "services"
    shutil.copytree(ROOT / "config/handlers", types)
    services.mkdir()
    for number, name, inputs, stateful in (
        (901, "ReadHandler", ["Image"], False),
        (902, "MatchHandler", ["Image", "Boxes"], False),
        (903, "CountHandler", ["Boxes"], True),
    ):
        document = {
            "handler_type": number, "name": name, "class": f"tests.faults.handlers:{name}", "inputs": inputs,
            "outputs": ["Boxes"], "params": {}, "stateful": stateful, "profile": {"ms": 0.1, "mem_mb": 50},
        }  # fmt: skip
        (types / f"{number}.json").write_text(json.dumps(document))
    variants = [
        _variant("pair", [(DECODE, 0, READ, 0)], []),
        _variant("chain", [(DECODE, 0, READ, 0), (READ, 0, COUNT, 0)], []),
        _variant(
            "fan",
            [(DECODE, 0, READ, 0), (DECODE, 0, MATCH, 0), (READ, 0, MATCH, 1), (MATCH, 0, COUNT, 0),
             (DECODE, 0, ENCODE, 0)],
            [{"handler_id": COUNT, "output": 0}, {"handler_id": ENCODE, "output": 0, "on_demand": True}],
        ),
    ]  # fmt: skip
    service = {"service_id": 900, "service_name": NAME, "description": "", "variants": variants}
    (services / "laboratory.json").write_text(json.dumps(service))
    return types, services


def _variant(name: str, links: list[tuple[int, int, int, int]], results: list[dict[str, Any]]) -> dict[str, Any]:
    ids = sorted({h for source, _, target, _ in links for h in (source, target)})
    ends = ("source_handler", "source_output", "target_handler", "target_input")
    return {
        "variant_name": name,
        "accuracy": 1.0,
        "handlers": [{"handler_id": h, "handler_name": f"h{h}", "handler_type": TYPES[h], "params": {}} for h in ids],
        "links": [dict(zip(ends, link, strict=True)) for link in links],
        "results": results,
    }
