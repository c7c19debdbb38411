"""An algorithm with a time limit: whatever it does, a decision comes or a refusal, and the coordinator goes on.

caller ──▶ daemon thread runs allocate() ──▶ answer (one place) ──▶ caller, who waits `limit_s` at most

A thread that is late is told to end (an exception at its next line of Python) and abandoned; one that waits inside C
hears that only when it comes back. While MOST_HANGING of them live the algorithm is refused at once.
"""

import ctypes
import threading
import time
from collections.abc import Callable
from typing import Any

from coordinator.allocation.base import Algorithm, Decision, Placement, Request, Snapshot
from coordinator.allocation.race import Bounding

MOST_HANGING = 2


class AlgorithmHangs(Exception):
    """It gave no answer in time."""


class _Ended(BaseException):
    """Raised in a thread whose answer nobody waits for any more; no `except Exception` keeps it."""


class Timed:
    """Thread-safe. Says what the algorithm raises; AlgorithmHangs when it says nothing."""

    def __init__(
        self,
        algorithm: Algorithm,
        limit_s: float,
        took: Callable[[float], None] = lambda _: None,
        *,
        ours: bool = False,
    ) -> None:
        """took: is told the seconds of each decision. ours: it comes with the coordinator, and its bounds, which save
        most of the work where a service has variants, are asked for without a limit.
        """
        if ours and isinstance(algorithm, Bounding):
            self.latency_bounds = algorithm.latency_bounds
        self._algorithm, self._limit_s, self._took = algorithm, limit_s, took
        self._hanging: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.__doc__ = type(algorithm).__doc__  # what GET /algorithms tells

    def allocate(self, request: Request, snapshot: Snapshot, current: Placement | None) -> Decision:
        """Return what the algorithm says, unchecked."""
        self._refuse_when_hanging()
        begin = time.perf_counter()
        try:
            return self._allocate(request, snapshot, current)
        finally:
            self._took(time.perf_counter() - begin)

    def _allocate(self, request: Request, snapshot: Snapshot, current: Placement | None) -> Decision:
        answer: list[Any] = []
        failure: list[BaseException] = []

        def run() -> None:
            try:
                answer.append(self._algorithm.allocate(request, snapshot, current))
            except BaseException as error:  # noqa: BLE001 - a plug-in may raise anything; the caller gets it
                failure.append(error)

        thread = threading.Thread(target=run, name="algorithm", daemon=True)
        thread.start()
        thread.join(self._limit_s)
        if failure:
            raise _told(failure[0])
        if answer:
            decision: Decision = answer[0]
            return decision
        self._abandon(thread)
        raise AlgorithmHangs(f"it gave no answer within {self._limit_s:g} s")

    def _refuse_when_hanging(self) -> None:
        with self._lock:
            self._hanging = [t for t in self._hanging if t.is_alive()]
            if len(self._hanging) >= MOST_HANGING:
                raise AlgorithmHangs(f"{len(self._hanging)} earlier decisions of it still hang")

    def _abandon(self, thread: threading.Thread) -> None:
        with self._lock:
            self._hanging.append(thread)
        if thread.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_Ended))


def _told(error: BaseException) -> Exception:
    """Return *error* as one that ends this decision and nothing else: a plug-in's sys.exit() is not ours."""
    return error if isinstance(error, Exception) else RuntimeError(f"it raised {type(error).__name__}: {error}")
