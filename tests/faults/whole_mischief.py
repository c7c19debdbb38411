"""Faults of the whole system: daemons, their clocks and disks, shared memory, the ways between them, hostile posts."""

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tests.e2e.live_session import wait_for
from tests.faults import hostile
from tests.faults.hostile import Told
from tests.faults.mischief import PROCESSES, Mischief, Skipped, tell, trouble
from tests.faults.plans import Fault, Part, What
from tests.faults.sabotage import Disk, library
from tests.faults.whole_lab import Unit, WholeLab

DAEMONS = (Part.NODE, Part.COORDINATOR, Part.COLLECTOR)
DISKS = {What.FULL: Disk.FULL, What.READ_ONLY: Disk.READ_ONLY, What.SLOW_DISK: Disk.SLOW}
ORPHANS_S = 8.0  # a dead daemon's processes end within this by themselves
CHUNK = bytes(1 << 16)


class WholeMischief(Mischief):
    """What goes wrong in a run of the whole system."""

    found_s = 3.0

    def __init__(self, lab: WholeLab, session_ids: Sequence[int], urls: Sequence[Callable[[], str]]) -> None:
        """urls: where clients post the frames of each session."""
        super().__init__(lab, session_ids)
        self._whole, self._urls = lab, urls
        self.told: list[tuple[int, Told]] = []  # session, and what became of a hostile post

    def _deed(self, fault: Fault) -> Callable[[Fault], None]:
        deeds = {Part.DATABASE: self._to_database, Part.SPOOL: self._to_spool, Part.SHM: self._to_shm,
                 Part.CLIENT: self._as_client} | dict.fromkeys(DAEMONS, self._to_daemon) | dict.fromkeys(
                 PROCESSES, self._to_process)  # fmt: skip
        return deeds.get(fault.part, self._to_connections)

    def _to_daemon(self, fault: Fault) -> None:
        unit = (fault.part, fault.node_id)
        if fault.what is What.CLOCK:
            self._clock(unit, fault)
        elif fault.what in (What.KILL, What.KILL_ONE):
            self._kill(unit, fault)
        else:
            trouble(self._whole.pids(unit), fault)

    def _clock(self, unit: Unit, fault: Fault) -> None:
        if library() is None:
            raise Skipped("no C compiler")
        saboteur = self._whole.saboteurs[unit]
        saboteur.clock(fault.amount)
        threading.Event().wait(fault.lasts_s)
        saboteur.clock(0.0)

    def _kill(self, unit: Unit, fault: Fault) -> None:
        with self._alone(unit):
            daemon = self._whole.units[unit]
            if fault.what is What.KILL_ONE:
                tell([daemon.process.pid], signal.SIGKILL)
                daemon.process.wait()
                wait_for(lambda: not daemon.members(), f"the dead {unit} to be gone", daemon.members, ORPHANS_S)
            daemon.kill()
            threading.Event().wait(fault.lasts_s)
            self._whole.bring_up(unit)

    def _alone(self, unit: Unit) -> "_Held":
        return _Held(self._whole.locks[unit])

    def _to_database(self, fault: Fault) -> None:
        server = self._whole.mariadb
        assert server is not None
        with self._alone((Part.DATABASE, 0)):
            if fault.what is not What.KILL:
                trouble(self._whole.pids((Part.DATABASE, 0)), fault)
                return
            server.kill()
            threading.Event().wait(fault.lasts_s)
            server.start()

    def _to_spool(self, fault: Fault) -> None:
        if library() is None:
            raise Skipped("no C compiler")
        saboteur = self._whole.saboteurs[Part.NODE, fault.node_id]
        saboteur.disk(DISKS[fault.what])
        threading.Event().wait(fault.lasts_s)
        saboteur.disk(Disk.WELL)

    def _to_shm(self, fault: Fault) -> None:
        folder = self._whole.shm(fault.node_id)
        if folder is None:
            raise Skipped("the node is dead, or has no shared memory of its own")
        with suppress(FileNotFoundError):  # the node died meanwhile
            fill(folder / "filler", fault.lasts_s)

    def _as_client(self, fault: Fault) -> None:
        self.told.append((fault.session, hostile.post(self._urls[fault.session](), fault.what, fault.amount)))


class _Held:
    """Holds a lock, or skips the fault when another has it."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise Skipped("it is dead already")

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def fill(path: Path, lasts_s: float) -> None:
    """Take all the room of a file system for a while, also what becomes free meanwhile."""
    until = time.monotonic() + lasts_s
    with path.open("wb", buffering=0) as file:
        try:
            while time.monotonic() < until:
                try:
                    os.write(file.fileno(), CHUNK)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    threading.Event().wait(0.02)
        finally:
            path.unlink(missing_ok=True)
