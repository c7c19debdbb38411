"""Carries faults out: each in a thread of its own, so that they overlap as the plan says."""

import logging
import os
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import psutil
import requests

from tests.e2e.live_session import wait_for
from tests.faults.lab import Lab
from tests.faults.plans import Fault, Part, What

log = logging.getLogger(__name__)
FOUND_S = 30.0  # how long a process that is being started anew is waited for


class Mischief:
    """What goes wrong in a run."""

    def __init__(self, lab: Lab, session_ids: Sequence[int]) -> None:
        self._lab, self._sessions = lab, session_ids
        self._threads: list[threading.Thread] = []
        self.errors: list[str] = []

    def begin(self, fault: Fault) -> None:
        """Wait as *fault* says, then begin it."""
        threading.Event().wait(fault.wait_s)
        thread = threading.Thread(target=self._carry_out, args=(fault,), name=str(fault), daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        """Wait until all faults are over."""
        for thread in self._threads:
            thread.join(60)

    def _carry_out(self, fault: Fault) -> None:
        try:
            if fault.part in (Part.HANDLER, Part.GATEWAY):
                self._to_process(fault)
            elif fault.part in (Part.LINK, Part.DOOR):
                self._to_connections(fault)
            elif fault.part is Part.NODE:
                self._to_node(fault)
            else:
                self._to_coordinator(fault)
        except (AssertionError, OSError, RuntimeError, ValueError, psutil.Error) as error:
            log.exception("%s", fault)
            self.errors.append(f"cannot carry out {fault}: {type(error).__name__}: {error}")

    def _to_process(self, fault: Fault) -> None:
        pid = self._pid(fault)
        with suppress(ProcessLookupError):  # another fault was faster
            if fault.what is What.KILL:
                os.kill(pid, signal.SIGKILL)
                return
            os.kill(pid, signal.SIGSTOP)
            threading.Event().wait(fault.amount)
            os.kill(pid, signal.SIGCONT)

    def _pid(self, fault: Fault) -> int:
        found: list[int] = []

        def look() -> bool:
            pid = None
            if fault.part is Part.GATEWAY:
                pid = self._lab.gateway_pid(fault.node_id)
            else:
                session_id = self._sessions[fault.session]
                with suppress(requests.RequestException):  # the node is dead
                    pid = self._lab.handler_pid(fault.node_id, session_id, fault.handler_id)
            found.extend([pid] if pid else [])
            return bool(found)

        wait_for(look, f"the process of {fault}", patience_s=FOUND_S)
        return found[-1]

    def _to_connections(self, fault: Fault) -> None:
        end = self._lab.relay.begin(self._lab.doors[fault.part, fault.node_id], fault.what, fault.amount)
        if fault.lasts_s:
            threading.Event().wait(fault.lasts_s)
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
