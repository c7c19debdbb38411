"""What was measured so far, kept in a JSON file between runs."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Figures = dict[str, Any]
QUIET = 0.3  # cores


def today() -> str:
    """Return the date (UTC) as figures carry it."""
    return datetime.now(UTC).date().isoformat()


class Store:
    """Figures by what they belong to ("handler 8", "accuracy face_detection/haar"), with date and machine."""

    def __init__(self, path: Path, machine: str, busy: float, *, quick: bool) -> None:
        """busy: cores that other work keeps busy, which is told with the figures when it may have disturbed them."""
        self._path = path
        self._machine, self._told = machine, f", {busy:.1f} cores busy with other work" if busy > QUIET else ""
        self._stamp = {"date": today(), "quick": quick}
        self._parts: dict[str, Figures] = json.loads(path.read_text()) if path.is_file() else {}

    def has(self, key: str) -> bool:
        """Return whether *key* was measured today, here and as thoroughly."""
        found = self._parts.get(key)
        if found is None or not str(found.get("machine", "")).startswith(self._machine):
            return False
        return all(found.get(name) == value for name, value in self._stamp.items())

    def put(self, key: str, figures: Figures) -> None:
        """Keep *figures*, at once."""
        self._parts[key] = figures | self._stamp | {"machine": self._machine + self._told}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_name(f".{self._path.name}.partial")
        partial.write_text(json.dumps(self._parts, indent=1))
        os.replace(partial, self._path)

    def get(self, key: str) -> Figures:
        """Return the figures of *key*, with `date` and `machine`. Raises KeyError."""
        return self._parts[key]
