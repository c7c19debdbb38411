"""What figures change in the repository: documents of types and services, tables in the docs, the picture."""

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.profile import documents, tables
from benchmarks.profile.reference import verdicts

Figures = Mapping[str, Mapping[str, Any]]  # by key
Texts = dict[Path, str]
PAGE, RESULTS, PICTURE = Path("docs/handlers.md"), Path("benchmarks/RESULTS.md"), Path("docs/accuracy-latency.png")
COSTS, REACHED = "costs and accuracy", "accuracy through the running system"


def changes(root: Path, found: Figures) -> Texts:
    """Return the new texts of the files that *found* changes, by path."""
    texts = {path: path.read_text(encoding="utf-8") for path in _resources(root)}
    new = {path: _with_figures(text, found) for path, text in texts.items()}
    texts |= {path: path.read_text(encoding="utf-8") for path in (root / PAGE, root / RESULTS)}
    types = [json.loads(t) for p, t in new.items() if p.parent.name == "handlers"]
    services = [json.loads(t) for p, t in new.items() if p.parent.name == "services"]
    new[root / PAGE] = documents.between(texts[root / PAGE], COSTS, tables.costs(types, services))
    if any(key.startswith("accuracy ") for key in found):
        table = tables.reached(list(verdicts(found)))
        new[root / RESULTS] = documents.between(texts[root / RESULTS], REACHED, table)
    return {path: text for path, text in new.items() if text != texts[path]}


def show(root: Path, changed: Texts) -> str:
    """Return the differences as a unified diff."""
    lines: list[str] = []
    for path, text in changed.items():
        name = str(path.relative_to(root))
        old = path.read_text(encoding="utf-8").splitlines(keepends=True)
        lines += difflib.unified_diff(old, text.splitlines(keepends=True), f"a/{name}", f"b/{name}")
    return "".join(lines)


def write(root: Path, changed: Texts, *, picture: bool) -> None:
    """Write the files, each at once, and draw the picture where that is due."""
    for path, text in changed.items():
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    if picture:
        from benchmarks.profile.plot import draw

        services = [json.loads(p.read_text(encoding="utf-8")) for p in _resources(root) if p.parent.name == "services"]
        draw(services, root / PICTURE)


def picture_due(found: Figures) -> bool:
    """Return whether the picture of accuracy and latency may have changed."""
    return any(key.startswith(("accuracy ", "cost ")) for key in found)


def _resources(root: Path) -> list[Path]:
    return [path for name in ("handlers", "services") for path in sorted((root / "config" / name).glob("*.json"))]


def _with_figures(text: str, found: Figures) -> str:
    """Return a document's text with what was found for it."""
    old = document = json.loads(text)
    if "handler_type" in document:
        figures = found.get(f"handler {document['handler_type']}", {"unavailable": ""})
        if "unavailable" not in figures:
            document = documents.with_type_profile(document, figures)
    for variant in document.get("variants", ()):
        name = f"{document['service_name']}/{variant['variant_name']}"
        costs, accuracy = found.get(f"cost {name}", {}), found.get(f"accuracy {name}", {})
        if costs and "unavailable" not in costs:
            document = documents.with_variant_costs(document, variant["variant_name"], costs)
        if accuracy and "unavailable" not in accuracy:
            document = documents.with_accuracy(document, variant["variant_name"], accuracy)
    return text if document == old else documents.dumped(document)
