"""The galleries that this node's recognizers use, each mirrored in a folder while one of them runs.

    agent: a handler starts ─▶ folder(...) ─▶ a first refresh, waited for ─▶ the handler gets the folder's path
    galleries thread, each second: refresh what living handlers use; forget what none has used for a while

Handlers see folders only. While no coordinator answers the folders stay as they are.
"""

import hashlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from node.mirror import Mirror
from wire.client import ControlClient, PeerAway, PeerError
from wire.galleries import DEFAULT, BadName, check_name, named_gallery

logger = logging.getLogger(__name__)

PERIOD_S = 1.0  # with a recognizer's own 2 s an enrolment is effective within 5 s
FIRST_S = 20.0  # how long a starting handler waits for its pictures; the rest follows
FORGET_S = 60.0  # a folder that no handler has used for so long is removed

Key = tuple[int, int]  # session_id, handler_id


class Galleries:
    """Safe to use from several threads."""

    def __init__(
        self,
        own_folder: Path | None,
        mirrors: Path,
        urls: Sequence[str],
        client: ControlClient,
        living: Callable[[], Iterable[Key]],
    ) -> None:
        """own_folder: the node's gallery_path; mirrors: where to keep copies; living: the handlers that there are."""
        self._own_folder, self._root = own_folder, mirrors
        self._urls = [url.rstrip("/") for url in urls]
        self._client = client
        self._living = living
        self._users: dict[Key, str] = {}
        self._mirrors: dict[str, Mirror] = {}
        self._used: dict[str, float] = {}  # gallery -> monotonic, s: when a handler was last seen to use it
        self._lock = threading.Lock()  # of the three above
        self._refreshing = threading.Lock()
        self._away = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="galleries", daemon=True)

    def start(self) -> None:
        """Follow from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Follow no more."""
        self._stopped.set()
        if self._thread.ident:
            self._thread.join(1.0)

    def folder(self, session_id: int, handler_id: int, params: Mapping[str, Any]) -> Path | None:
        """Return the folder of people for a starting handler with *params*; None when it uses none.

        Waits for its pictures when they were not there yet. Raises BadName.
        """
        name = named_gallery(params)
        if name is None or (not name and self._own_folder is not None):
            return self._own_folder
        gallery = check_name("gallery", name or DEFAULT)
        with self._lock:
            new = gallery not in self._mirrors
            if new:
                self._mirrors[gallery] = Mirror(gallery, self._root / _safe(gallery), self._client)
            self._users[session_id, handler_id] = gallery
            self._used[gallery] = time.monotonic()
            mirror = self._mirrors[gallery]
        if new:
            self._refresh([mirror], FIRST_S)
        return mirror.folder

    def _run(self) -> None:
        while not self._stopped.wait(PERIOD_S):
            try:
                self._refresh(self._in_use(), PERIOD_S * 5)
            except Exception:
                logger.exception("galleries not followed")
        self._client.close()

    def _in_use(self) -> list[Mirror]:
        """Return the mirrors that are used, and remove those that were not for a while."""
        now, living = time.monotonic(), set(self._living())
        with self._lock:
            for key, gallery in self._users.items():
                if key in living:
                    self._used[gallery] = now
            idle = [g for g, since in self._used.items() if now - since > FORGET_S]
            for gallery in idle:
                del self._used[gallery]
                shutil.rmtree(self._mirrors.pop(gallery).folder, ignore_errors=True)
            self._users = {key: g for key, g in self._users.items() if g in self._used}
            return list(self._mirrors.values())

    def _refresh(self, mirrors: Sequence[Mirror], patience_s: float) -> None:
        with self._refreshing:
            deadline = time.monotonic() + patience_s
            for mirror in mirrors:
                self._follow(mirror, deadline)

    def _follow(self, mirror: Mirror, deadline: float) -> None:
        """Refresh from the first coordinator that answers."""
        faults = []
        for url in list(self._urls):
            try:
                mirror.refresh(url, deadline)
            except (PeerAway, PeerError, OSError, BadName, msgspec.DecodeError) as error:
                faults.append(str(error))
                continue
            if url != self._urls[0]:
                self._urls.remove(url)
                self._urls.insert(0, url)
            self._note(None)
            return
        self._note(f"gallery {mirror.gallery} stays as it is: {'; '.join(faults)}")

    def _note(self, fault: str | None) -> None:
        """Log once per outage, and at its end."""
        if fault and not self._away:
            logger.warning("%s", fault)
        if not fault and self._away:
            logger.warning("galleries are followed again")
        self._away = fault is not None


def _safe(gallery: str) -> str:
    """Return a folder's name that is short and the gallery's own."""
    return hashlib.sha256(gallery.encode()).hexdigest()[:16]
