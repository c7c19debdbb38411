"""The handler types of this node and which of them can run, without importing any of them here.

    changed files? ─▶ short-lived child: load class, check ─▶ (type, reason) one by one ─▶ kept until files change
A module that ends its process is itself the one that is unavailable; the rest is checked in a new child.
"""

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from node import targets
from node.processes.control import ChildSettings
from node.processes.launcher import Launched, Launcher
from wire.messages import Body, HandlerAvailability
from wire.resources import HandlerTypeSpec

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 10.0  # how often files are looked at for a change
CHECK_TIMEOUT_S = 30.0  # for one type
NOT_YET = "not checked yet"


class CatalogueEntry(Body, frozen=True, kw_only=True):
    """One row of GET /handlers."""

    handler_type: int
    name: str
    class_name: str = msgspec.field(name="class")
    available: bool
    reason: str | None = None


class Catalogue:
    """Availability of *specs*; safe to use from several threads."""

    def __init__(
        self,
        specs: Sequence[HandlerTypeSpec],
        launcher: Launcher,
        model_path: Path,
        gallery_path: Path | None,
        settings: ChildSettings | None = None,
    ) -> None:
        """settings: of the handlers' processes, whose fence the checks are kept behind."""
        self._settings = settings
        self._specs = specs
        self._launcher = launcher
        self._paths = (model_path, gallery_path)
        self._reasons: dict[int, str | None] = {}
        self._checked: tuple[object, ...] | None = None  # the files' signature at the last check
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="catalogue", daemon=True)

    def start(self) -> None:
        """Check all types now, then look for changes until `stop`."""
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        """End the looking."""
        self._stopped.set()
        self._thread.join(1.0)

    def refresh(self) -> None:
        """Check again if a model or a gallery has come or gone since the last time."""
        with self._lock:
            now = signature([p for p in self._paths if p is not None])
            if now != self._checked:
                self._reasons = self._check()
                self._checked = now

    def entries(self) -> list[CatalogueEntry]:
        """Return what GET /handlers shows, by handler type."""
        return [
            CatalogueEntry(
                handler_type=s.handler_type, name=s.name, class_name=s.class_name, available=why is None, reason=why
            )
            for s, why in ((s, self._reasons.get(s.handler_type, NOT_YET)) for s in self._specs)
        ]

    def availability(self) -> list[HandlerAvailability]:
        """Return what a heartbeat says."""
        return [
            HandlerAvailability(handler_type=e.handler_type, name=e.name, available=e.available, reason=e.reason)
            for e in self.entries()
        ]

    def _watch(self) -> None:
        while not self._stopped.wait(LOOK_EVERY_S):
            try:
                self.refresh()
            except Exception:
                logger.exception("handler types not checked")

    def _check(self) -> dict[int, str | None]:
        reasons: dict[int, str | None] = {}
        todo = [(s.handler_type, s.class_name, s.params) for s in self._specs]
        while todo:
            reasons |= self._ask(todo)
            todo = [t for t in todo if t[0] not in reasons]
            if todo:
                reasons[todo[0][0]] = f"importing {todo[0][1]!r} ended or blocked its process"
                todo = todo[1:]
        return reasons

    def _ask(self, todo: list[targets.Check]) -> dict[int, str | None]:
        """Return the answers of one child; fewer than *todo* when it did not live to the end."""
        model_path, gallery_path = self._paths
        args = (todo, str(model_path), str(gallery_path) if gallery_path else None, self._settings)
        launched = self._launcher.launch("availability", targets.availability, args)
        try:
            return self._answers(launched, len(todo))
        finally:
            launched.kill()
            self._launcher.reap(launched)

    @staticmethod
    def _answers(launched: Launched, number: int) -> dict[int, str | None]:
        answers: dict[int, str | None] = {}
        try:
            while len(answers) < number and launched.pipe.poll(CHECK_TIMEOUT_S):
                handler_type, why = msgspec.msgpack.decode(launched.pipe.recv_bytes(), type=tuple[int, str | None])
                answers[handler_type] = why
        except (EOFError, OSError):
            logger.warning("the check of handler types ended after %d of %d", len(answers), number)
        return answers


def signature(folders: Sequence[Path]) -> tuple[object, ...]:
    """Return something that changes when a file or folder in *folders*, or one level below, comes or goes."""
    found: list[object] = []
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                found += [(e.name, e.stat().st_mtime_ns) for e in sorted(entries, key=lambda e: e.name)]
        except OSError as error:
            found.append((str(folder), error.errno))
    return tuple(found)
