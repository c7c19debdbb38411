"""Carries faults out: each in a thread of its own, so that they overlap as the plan says.

What a fault meets may be gone already, by another fault: then it is skipped, and noted.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil
import requests

from tests.e2e.live_session import wait_for
from tests.faults.lab import Lab
from tests.faults.plans import Fault, Part, What

log = logging.getLogger(__name__)
FOUND_S = 30.0  # how long a process that is being started anew is waited for
TURN_S, SHARE = 0.2, 0.1  # a slow process runs for this share of each turn
PROCESSES = (Part.HANDLER, Part.GATEWAY)


class Skipped(Exception):
    """What the fault is about is not there."""


@dataclass(frozen=True)
class Done:
    """A fault that was carried out, and when (monotonic, s)."""

    fault: Fault
    began: float
    ended: float


class Mischief:
    """What goes wrong in a run."""

    found_s = FOUND_S

    def __init__(self, lab: Lab, session_ids: Sequence[int]) -> None:
        self._lab, self._sessions = lab, session_ids
        self._threads: list[threading.Thread] = []
        self._began: float | None = None
        self.errors: list[str] = []
        self.skipped: list[str] = []
        self.done: list[Done] = []

    def begin(self, fault: Fault) -> None:
        """Wait until it is time for *fault*, then begin it."""
        if self._began is None:
            self._began = time.monotonic()
        threading.Event().wait(max(0.0, self._began + fault.at_s - time.monotonic()))
        thread = threading.Thread(target=self._carry_out, args=(fault,), name=str(fault), daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        """Wait until all faults are over."""
        for thread in self._threads:
            thread.join(120)

    def _carry_out(self, fault: Fault) -> None:
        began = time.monotonic()
        try:
            self._deed(fault)(fault)
            self.done.append(Done(fault, began, time.monotonic()))
        except Skipped as reason:
            self.skipped.append(f"{fault.what} {fault.part}: {reason}")
        except (AssertionError, OSError, RuntimeError, ValueError, psutil.Error) as error:
            log.exception("%s", fault)
            self.errors.append(f"cannot carry out {fault}: {type(error).__name__}: {error}")

    def _deed(self, fault: Fault) -> Callable[[Fault], None]:
        """Return what carries *fault* out."""
        if fault.part in PROCESSES:
            return self._to_process
        return {Part.NODE: self._to_node, Part.COORDINATOR: self._to_coordinator}.get(fault.part, self._to_connections)

    def _to_process(self, fault: Fault) -> None:
        trouble([self._pid(fault)], fault)

    def _pid(self, fault: Fault) -> int:
        found: list[int] = []

        def look() -> bool:
            pid = self._lab.gateway_pid(fault.node_id) if fault.part is Part.GATEWAY else self._handler(fault)
            found.extend([pid] if pid else [])
            return bool(found)

        try:
            wait_for(look, f"the process of {fault}", patience_s=self.found_s)
        except AssertionError as error:
            if self.found_s == FOUND_S:
                raise
            raise Skipped(str(error)) from error
        return found[-1]

    def _handler(self, fault: Fault) -> int | None:
        session_id = self._sessions[fault.session]
        for node_id in [fault.node_id] if fault.node_id else self._lab.node_ids:
            with suppress(requests.RequestException):  # the node is dead
                pid = self._lab.handler_pid(node_id, session_id, fault.handler_id)
                if pid:
                    return pid
        return None

    def _to_connections(self, fault: Fault) -> None:
        ends = [
            self._lab.relay.begin(door, fault.what, fault.amount) for door in self._lab.ways(fault.part, fault.node_id)
        ]
        if fault.lasts_s:
            threading.Event().wait(fault.lasts_s)
            for end in ends:
                end()

    def _to_node(self, fault: Fault) -> None:
        self._lab.nodes[fault.node_id].kill()
        threading.Event().wait(fault.lasts_s)
        self._lab.restart_node(fault.node_id)

    def _to_coordinator(self, fault: Fault) -> None:
        url = self._lab.coordinator.url
        self._lab.coordinator.kill()
        threading.Event().wait(fault.lasts_s)
        self._lab.start_coordinator(urlsplit(url).port or 0)
        wait_for(lambda: requests.get(f"{url}/readyz", timeout=5).ok, "the coordinator to be ready")


def trouble(pids: Sequence[int], fault: Fault) -> None:
    """Kill, pause or slow down processes; returns when it is over."""
    if fault.what is What.KILL:
        tell(pids, signal.SIGKILL)
    elif fault.what is What.PAUSE:
        tell(pids, signal.SIGSTOP)
        threading.Event().wait(fault.amount)
        tell(pids, signal.SIGCONT)
    elif fault.what is What.SLOW:
        until = time.monotonic() + fault.lasts_s
        while time.monotonic() < until:
            tell(pids, signal.SIGSTOP)
            threading.Event().wait(TURN_S * (1 - SHARE))
            tell(pids, signal.SIGCONT)
            threading.Event().wait(TURN_S * SHARE)
    else:
        raise ValueError(fault.what)


def tell(pids: Sequence[int], signum: signal.Signals) -> None:
    """Send a signal to those that still live."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signum)
